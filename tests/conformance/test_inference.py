"""Every client, every model, every strategy: the answer is what the model itself gives, bit by bit."""

JSON_FORMS = ("json", "json-to-binary", "binary-to-json")
BINARY_ONLY = {"FP16", "BF16"}
UNITS_N = 16  # enough for both arms of a half-and-half split to be met
CANDIDATE_STRATEGIES = ("ab", "canary")


def test_every_answer_is_what_the_model_itself_gives(client, strategy, cases, count, shadow_calls):
    """Whichever client I use and whichever strategy stands behind the name, I get the model's own numbers."""
    wrong, arms, number = [], set(), 0
    for case in cases:
        for form in (form for form in client.forms if carries(client, case, form)):
            answer = client.ask("infer", **request(client, case, form, strategy, number))
            arm = answer["parameters"]["turnout_arm"]
            if answer["outputs"] != case["expected"][arm]:
                wrong.append((case["model"], case["name"], form, arm, answer["outputs"]))
            arms.add(arm)
            number += 1
    assert [] == wrong
    assert ({"old", "new"} if strategy in CANDIDATE_STRATEGIES else {"old"}) == arms
    if strategy == "shadow":
        check_shadows(shadow_calls(number), number)
    count(strategy, number)


def check_shadows(calls, number):
    """Every request was due in the shadow, none failed there, and identical models agreed."""
    outcomes = {outcome for _, outcome in calls}
    assert number == calls.total()
    assert "failed" not in outcomes
    assert calls["fp32-shadow", "match"] > 0


def request(client, case, form, strategy, number):
    """One job. Outputs are named every other time, and always where tritonclient would else want them in binary."""
    names = [output["name"] for output in case["expected"]["old"]]
    is_named = form != "bare" and (number % 2 or form in ("json", "binary-to-json"))
    return {
        "model": f"{case['model']}-{strategy}",
        "inputs": case["inputs"],
        "how": form,
        "outputs": names if is_named else None,
        "headers": {"x-turnout-unit": f"account-{number % UNITS_N}"},
    }


def carries(client, case, form):
    """Whether a client can send and get this case in this form. What has no such form is asked in another test."""
    datatypes = {tensor["datatype"] for tensor in (*case["inputs"], *case["expected"]["old"])}
    if "BF16" in datatypes and client.name.startswith("kserve"):
        return False  # its library has no such type
    if datatypes & BINARY_ONLY and form in (*JSON_FORMS, "typed"):
        return False
    if not case["is_finite"] and form in JSON_FORMS:
        return False
    return form != "bare" or (len(case["inputs"]) == 1 and "BYTES" not in datatypes)
