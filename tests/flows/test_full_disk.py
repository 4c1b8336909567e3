"""A disk that fills up in a night: one line, the right exit status, and nothing lost."""

from disks import SmallDisk
from night_process import kill_tree, make_lab, run_to_the_end, start_night
from prefect_api import PATIENCE, trials_that_ran, wait_for_event

from noctuary.archive import Archive


def test_a_full_disk_ends_the_night_with_one_line_and_loses_no_trial(
    small_disk: SmallDisk, prefect_environment: dict[str, str]
) -> None:
    lab = make_lab(small_disk.root / "lab")
    process = start_night(lab, 1, prefect_environment)
    try:
        wait_for_event(lab, 0, "trial finished")
        small_disk.fill()
        output, _ = process.communicate(timeout=PATIENCE)
    finally:
        kill_tree(process)
    last = output.decode("utf-8").splitlines()[-1]
    assert process.returncode == 3, output
    assert last.startswith("noctuary: ")
    assert "free some" in last
    finished = len(list(lab.trials.iterdir()))
    assert finished > 0

    small_disk.empty()
    run_to_the_end(lab, 1, prefect_environment)
    assert {row["status"] for row in Archive(lab.archive_path).cycles()} == {"done"}
    trials = trials_that_ran(lab)
    assert len(trials) == len(set(trials))
