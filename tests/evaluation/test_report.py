"""What stands beside a table: the machines that the runs ran on."""

import pytest

from mf_pmd.evaluation.report import machine_note

LINUX = {"os": ["Linux", "Linux-6.1"], "python_version": "3.11.9"}


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ({}, "not recorded"),
        ({"cpu": None, "os": []}, "not recorded"),
        (LINUX, "Linux, Python 3.11.9"),
        ({"cpu": "Abacus 1", **LINUX}, "Abacus 1, Linux, Python 3.11.9"),
    ],
)
def test_a_machine_is_told_as_far_as_it_is_known(tmp_path, write_run, read_runs, host, said):
    write_run(tmp_path, run={"host": host})
    assert machine_note(read_runs(tmp_path)) == [f"Machine: {said}."]


def test_machines_are_told_with_the_number_of_their_runs(tmp_path, write_run, read_runs):
    for seed, process in enumerate(({"machine": "Abacus 1"}, None, None), 1):
        write_run(tmp_path, seed=seed, process=process)
    assert machine_note(read_runs(tmp_path)) == ["Machines: Abacus 1 (1 run); not recorded (2 runs)."]
