"""`l2tpns-lab bench` on the command line, without measuring."""

import argparse
import json
from pathlib import Path

import pytest

from l2tpns_core.lab.bench import command
from l2tpns_core.lab.bench.report import FORM, PACKETS, Report
from l2tpns_core.lab.main import main


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    return parser.parse_args(["bench", *arguments])


def test_quick_is_a_short_selection_that_options_change() -> None:
    options = command._options(parse("--quick", "--rounds", "3", "--sessions", "5,1,5"))
    assert options.rounds == 3
    assert options.sessions == (1, 5)
    assert options.seconds == command.QUICK["seconds"]
    assert command._options(parse()).measures == command.MEASURES


@pytest.mark.parametrize(
    "arguments",
    [
        ("--candidates", "ebpf,cisco"),
        ("--measures", "packets,beauty"),
        ("--sizes", "20"),
        ("--sizes", "many"),
        ("--sessions", "0"),
        ("--sessions", "70000"),
        ("--seconds", "nan"),
        ("--seconds", "1e9"),
        ("--rounds", "0"),
        ("--rounds", "-1"),
    ],
)
def test_wrong_usage_gets_status_2(
    arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(*arguments)
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_without_root_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert main(["bench", "--quick"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("l2tpns-lab bench: needs root")
    assert error.count("\n") == 1


def test_a_directory_that_is_missing_is_noticed_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--json", str(tmp_path / "no" / "file")]) == 2
    assert "no such directory" in capsys.readouterr().err


def test_an_earlier_run_is_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = Report(
        {"cpu": "a CPU", "cores": 2, "kernel": "Linux 6.18"},
        "l2tpns-lab bench",
        {"rounds": 1, "seconds": 1.0},
        titles={"plain": "plain forwarding"},
    )
    for size, rate in ((64, 2e6), (1400, 1e6)):
        made.row(PACKETS, candidate="plain", direction="up", size=size).rounds = [rate]
    source, tables, graphs = tmp_path / "a.json", tmp_path / "b.md", tmp_path / "graphs"
    source.write_text(json.dumps(made.as_dict()))
    arguments = ["bench", "--from", str(source), "--write", str(tables), "--graphs", str(graphs)]
    assert main(arguments) == 0
    assert "2,000,000" in tables.read_text()
    assert {path.name for path in graphs.iterdir()} == {"rate-by-size.svg", "cpu-per-packet.svg"}
    assert capsys.readouterr().out.strip() == tables.read_text().strip()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"form": 99}', f'{{"form": {FORM}}}'])
def test_a_file_that_is_no_report_gets_one_line(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    assert main(["bench", "--from", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
