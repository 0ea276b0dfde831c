"""What a route does to traffic."""

from gateway.config.traffic import traffic_of

ARMS = {
    "old": {"model": "file:old.onnx", "role": "baseline"},
    "new": {"model": "file:new.onnx", "role": "candidate"},
    "dumb": {"model": "constant:dumb.json", "role": "reserve"},
}


def test_shares_are_read_from_the_map(compile_changed):
    traffic = traffic_of(compile_changed(strategy={"kind": "ab", "shares": {"new": "29%"}}))

    assert (traffic.answers, traffic.shares_ppm) == (1, {"new": 290_000, "old": 710_000})


def test_an_arm_is_no_shadow_of_its_own_answers(compile_changed):
    """Of 20 % shadow calls those fall away whose request the arm answers."""
    strategy = {"kind": "ab", "shares": {"new": "25%"}}
    traffic = traffic_of(compile_changed(strategy=strategy, shadow=[{"candidate": "new", "share": "20%"}]))

    assert (traffic.shadow_ppm, traffic.calls_ppm) == ({"new": 150_000}, 1_150_000)


def test_an_arm_that_nothing_names_is_unreached(compile_changed):
    changed = {"fallback": ["old"], "strategy": {"kind": "baseline"}}

    assert traffic_of(compile_changed(**changed)).unreached == ("new", "dumb")
    assert traffic_of(compile_changed(**changed, pin=True)).unreached == ()


def test_a_canary_at_its_first_step_is_reached(compile_changed):
    ramp = [{"share": "0%"}, {"share": "5%"}]

    assert traffic_of(compile_changed(strategy={"kind": "canary", "candidate": "new", "ramp": ramp})).unreached == ()


def test_arms_that_run_on_something_else_are_told(compile_changed):
    """A latency guardrail would compare the engines."""
    arms = ARMS | {"new": ARMS["new"] | {"threads": 4, "provider": {"name": "cuda"}}}

    assert traffic_of(compile_changed(arms=arms)).unlike == {"new": ("provider cuda, not cpu", "threads 4, not 1")}


def test_units_that_meet_two_arms_together_are_told_together(compile_changed):
    """A fifth of the units takes a call more; whoever is a partner is no shadow of itself."""
    strategy = {"kind": "interleave", "partners": ["new"], "ids": "items", "share": "20%"}
    traffic = traffic_of(compile_changed(strategy=strategy, shadow=[{"candidate": "new", "share": "50%"}]))

    assert traffic.shares_ppm == {"old+new": 200_000, "old": 800_000}
    assert [traffic.share_of(name) for name in ("old", "new", "dumb")] == [1_000_000, 200_000, 0]
    assert (traffic.partner_load_ppm, traffic.shadow_ppm, traffic.calls_ppm) == (200_000, {"new": 400_000}, 1_600_000)
    assert (traffic.unreached, traffic.unlike) == ((), {})
    assert traffic.merges == "lists of items, the first 10 places by team draft"
