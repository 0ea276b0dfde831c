"""What the operator's side answers about how arms are run. gateway/arms.py makes the values."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """What is written here is promised; what publishing/telling.py says beyond it goes out all the same."""

    model_config = ConfigDict(extra="allow")


class Replica(Answer):
    """One replica of an arm on Ray, as all gateways of the state see it together."""

    replica: str
    node: str
    state: Annotated[
        str, Field(description="starting, ready, draining, gone; or lost: said to be ready, and no gateway reaches it.")
    ]
    address: Annotated[str, Field(description="socket, port, socket and port, detour, or none.")]
    provider: Annotated[str, Field(description="Really in use, as it says itself; empty until it has been greeted.")]
    degraded: Annotated[str, Field(description="Why that is not the one preferred, empty if it is.")]
    outstanding: Annotated[int, Field(description="Calls of these gateways under way there.")]
    open: Annotated[int, Field(description="Calls of everybody under way there, as it says itself.")]
    waiting: Annotated[int, Field(description="Those of them that wait for the model.")]
    ejected: Annotated[bool, Field(description="Whether a gateway has it rest now, for it was worse than the others.")]
    ejections: Annotated[int, Field(description="How often one has.")]
    why: Annotated[str, Field(description="What keeps it from being asked, empty if nothing does.")]


class ArmLine(Answer):
    """How an arm is run at the moment: some seconds old, and nothing where no gateway is there to say."""

    arm: str
    runner: str
    sentence: str
    provider: Annotated[str, Field(description="Really in use, several with commas, empty where nobody has said.")]
    degraded: Annotated[bool, Field(description="Whether another was preferred.")]
    waiting: Annotated[int, Field(description="Calls that wait for the model.")]
    application: Annotated[str, Field(description="Its name on Ray Serve, empty for what is not on Ray.")]
    wanted: Annotated[
        list[int] | None, Field(description="The fewest and the most replicas.", min_length=2, max_length=2)
    ]
    ready: Annotated[int | None, Field(description="Replicas that are asked.")]
    status: Annotated[str, Field(description="Ray Serve's word for the application.")]
    trouble: Annotated[str, Field(description="What is the matter, in Ray's words, or why nobody can tell.")]
    died: Annotated[int, Field(description="Replicas that ended unasked since the gateway looks.")]
    untold: Annotated[int, Field(description="Replicas beyond those listed.")]
    replicas: list[Replica]
