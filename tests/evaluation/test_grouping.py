"""Which runs count as seeds of one experiment."""

from mf_pmd.evaluation.grouping import group_runs


def labels(groups):
    return [(group.game, group.algorithm, [run.seed for run in group.runs]) for group in groups]


def test_seeds_of_one_experiment_are_one_group(tmp_path, write_run, read_runs):
    for game in ("a_sis", "a_rps"):
        for algorithm in ("mf_pmd", "ippo"):
            for seed in (1, 2):
                write_run(tmp_path, algorithm=algorithm, game=game, seed=seed)
    groups, notes = group_runs(read_runs(tmp_path))
    assert labels(groups) == [
        (game, algorithm, [1, 2]) for game in ("a_rps", "a_sis") for algorithm in ("ippo", "mf_pmd")
    ]
    assert notes == []


def test_other_settings_are_kept_apart_and_named(tmp_path, write_run, read_runs):
    for lr in (0.1, 0.2):
        write_run(tmp_path, algorithm="ippo", lr=lr)
    write_run(tmp_path, algorithm="mf_pmd", lr=0.3)
    groups, _ = group_runs(read_runs(tmp_path))
    assert [group.algorithm for group in groups] == ["ippo (lr=0.1)", "ippo (lr=0.2)", "mf_pmd"]


def test_other_games_of_the_same_name_are_kept_apart_and_named(tmp_path, write_run, read_runs):
    for agents in (10, 1000):
        write_run(tmp_path, env_args={"n_agents": agents})
    write_run(tmp_path)
    groups, _ = group_runs(read_runs(tmp_path))
    assert sorted(group.game for group in groups) == [
        "a_sis (n_agents=10)",
        "a_sis (n_agents=1000)",
        "a_sis (n_agents=unset)",
    ]


def test_many_differences_become_a_number(tmp_path, write_run, read_runs):
    write_run(tmp_path, a=1, b=1, c=1, d=1)
    write_run(tmp_path, a=2, b=2, c=2, d=2)
    groups, _ = group_runs(read_runs(tmp_path))
    assert [group.algorithm for group in groups] == ["mf_pmd (settings 1)", "mf_pmd (settings 2)"]


def test_of_the_same_seed_the_newest_run_counts(tmp_path, write_run, read_runs):
    newest = write_run(tmp_path, seed=1, day=3)
    write_run(tmp_path, seed=1, day=2)
    other = write_run(tmp_path, seed=2, day=1)
    groups, notes = group_runs(read_runs(tmp_path))
    assert [[run.folder for run in group.runs] for group in groups] == [[newest, other]]
    assert notes == ["1 older run of the same seed and settings is left out."]
    write_run(tmp_path, seed=2, day=4)
    _, notes = group_runs(read_runs(tmp_path))
    assert notes == ["2 older runs of the same seed and settings are left out."]
