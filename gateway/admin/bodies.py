"""What the operator's side takes, as its OpenAPI document describes it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NUMBER_LIMIT = 2**53
STORABLE = r"^[^\x00]*$"  # PostgreSQL keeps every text but that
Number = Annotated[int, Field(ge=1, le=NUMBER_LIMIT)]
Reason = Annotated[str, Field(max_length=2000, pattern=STORABLE, description="Why, for those who read the history.")]
RouteName = Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]*$")]
DocumentPath = Annotated[str, Field(max_length=256, pattern=STORABLE)]
DocumentText = Annotated[str, Field(pattern=STORABLE)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ChangeBody(_Body):
    """What every change can be told."""

    reason: Reason = ""
    dry_run: Annotated[bool, Field(description="Say what would change, and change nothing.")] = False
    expects: Annotated[
        int | None, Field(ge=0, le=NUMBER_LIMIT, description="Only if this revision is live; 0 is before the first.")
    ] = None


class ApplyBody(ChangeBody):
    """All documents, by their paths in a config directory."""

    documents: Annotated[dict[DocumentPath, DocumentText], Field(max_length=10_000)]
    restart: Annotated[list[RouteName], Field(max_length=10_000, description="Routes whose rollout begins again.")] = []


class UndoBody(ChangeBody):
    """By default the documents before those that are live."""

    to_revision: Annotated[Number | None, Field(description="Whose documents to go back to.")] = None
    restart: Annotated[list[RouteName], Field(max_length=10_000, description="Routes whose rollout begins again.")] = []


class FreezeBody(ChangeBody):
    """An empty reason lifts it."""
