"""What is told of a run that went wrong."""

from __future__ import annotations

from torture.report import longest_recovery, trace

RECORDS = {
    "sam": [
        ["open", 10.0, 1],
        ["invoke", 20.0, 1, 7, "*"],
        ["invoke", 20.0, 1, 8, "*"],
        ["ok", 21.0, 7],
    ],
    "rae": [
        ["shown", 22.0, "echo", 3, "sam", "*", "sam:7"],
        ["shown", 22.0, "echo", 4, "sam", "*", "sam:8"],
    ],
    "nemesis": [["begins", 1.0, "disk full"], ["begins", 20.5, "broker killed"]],
}


def test_a_trace_is_all_that_was_noted_of_a_message_and_the_faults_around_it():
    told = trace("lost: sam:7 was acknowledged and is not in echo", RECORDS).splitlines()
    assert [line.split(maxsplit=1)[1] for line in told[1:]] == [
        "sam: invoke [1, 7, '*']",
        "nemesis: begins ['broker killed']",
        "sam: ok [7]",
        "rae: shown ['echo', 3, 'sam', '*', 'sam:7']",
    ]


def test_a_breach_that_is_about_no_message_is_told_as_it_is():
    assert trace("rae never came to an end", RECORDS) == "rae never came to an end"


def test_a_recovery_lasts_from_the_end_of_a_fault_to_the_next_acknowledgement():
    assert longest_recovery([1.0, 5.0], [7.5, 0.5, 2.0]) == 2.5
    assert longest_recovery([9.0], [7.5]) == 0.0
