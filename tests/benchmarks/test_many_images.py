"""Many images: the simulated cluster beside bounds that need no simulation, and the measurement itself."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks import many_images, simulated_cluster
from benchmarks.simulated_cluster import AT, LEAST, Times, seconds

RECORDED = sorted((Path(many_images.__file__).parent / "times").glob("*.json"))
NOTHING = Times(
    command="nothing beside the pieces",
    size=100,
    pieces=(2.0,),
    begin=0.0,
    listing=0.0,
    looking=0.0,
    block=1000,
    reading=0.0,
    sending=0.0,
    receiving=0.0,
    asking=0.0,
    writing=0.0,
    opening=0.0,
    asking_again=0.0,
    merging=0.0,
)


@pytest.mark.parametrize("workers", [1, 2, 8, 64])
def test_where_rank_0_has_nothing_else_to_do_nobody_waits(workers):
    pieces = 640
    assert seconds(NOTHING, 100 * pieces, workers) == pytest.approx(2.0 * pieces / workers)


@pytest.mark.parametrize("workers", [1, 8, 64, 512])
def test_no_number_of_workers_is_quicker_than_the_work_or_than_rank_0(workers):
    times = replace(NOTHING, pieces=(1.0, 2.0, 3.0), begin=5.0, listing=0.001, reading=0.02, sending=0.01)
    times = replace(times, receiving=0.01, writing=0.03, asking_again=0.5)
    pieces, images = 2000, 200_000
    found = seconds(times, images, workers)
    before, own = 5.0 + 0.001 * images, 0.03
    work = (2.0 + 0.02 + 0.5) * pieces
    assert found >= before + (work + own * pieces) / workers * 0.97  # pieces are drawn
    assert found >= before + own * pieces
    one = seconds(times, images, 1)
    assert one == pytest.approx(before + work + own * pieces, rel=0.03)
    assert found <= one


def test_a_slow_rank_0_bounds_what_many_workers_do():
    times = replace(NOTHING, writing=0.1)
    few, many = (seconds(times, 100_000, workers) for workers in (4, 512))
    assert seconds(replace(NOTHING, opening=0.1, asking_again=0.2), 100_000, 64) == pytest.approx(
        2.0 * 1000 / 64 + 0.1 * 1000, rel=0.05
    )
    assert few < seconds(times, 100_000, 1) / 3
    assert many >= 0.1 * 1000
    assert many == pytest.approx(0.1 * 1000, rel=0.1)


def test_all_look_at_the_data_block_by_block():
    times = replace(NOTHING, looking=0.01)
    without = [seconds(NOTHING, 10_500, workers) for workers in (1, 4, 64)]
    found = [seconds(times, 10_500, workers) for workers in (1, 4, 64)]
    assert [a - b for a, b in zip(found, without)] == pytest.approx([105.0, 30.0, 10.0])  # of 11 blocks


def test_a_simulation_that_finds_too_little_says_so(tmp_path, capsys):
    file = tmp_path / "slow.json"
    file.write_text(json.dumps(asdict(replace(NOTHING, writing=0.1))))
    assert simulated_cluster.main([str(file)]) == 1


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_the_recorded_times_are_read_and_keep_64_workers_busy(file, capsys):
    times = Times.of(file)
    assert times.size == 256
    shares = [seconds(times, 10**6, 1) / n / seconds(times, 10**6, n) for n in (8, AT)]
    assert min(shares) >= LEAST
    assert simulated_cluster.main([str(file)]) == 0
    assert times.command in capsys.readouterr().out


def test_there_are_recorded_times():
    assert [file.stem for file in RECORDED] == ["fgsm", "pgd"]


@pytest.mark.slow
def test_more_images_are_measured_beside_fewer(capsys):
    asked = ["toybox", "--model", "zoo:toybox-resnet20", "--counts", "4,8"]
    assert many_images.main(asked) == 0
    head, _, first, second = capsys.readouterr().out.strip().splitlines()
    assert "peak MB" in head
    assert first.startswith("| 4 |")
    assert second.startswith("| 8 |")


@pytest.mark.slow
def test_what_is_recorded_is_what_the_simulation_reads(tmp_path):
    file = tmp_path / "times.json"
    words = [sys.executable, "-m", "benchmarks.many_images", "toybox", "--model", "zoo:toybox-resnet20"]
    words += ["--counts", "8", "--listed", "16", "--record", str(file)]
    place = Path(many_images.__file__).parents[1]
    subprocess.run(words, check=True, cwd=place, capture_output=True)
    times = Times.of(file)
    assert times.size == 8
    assert len(times.pieces) == 1
    assert all(value >= 0 for value in json.loads(file.read_text()).values() if isinstance(value, float))
