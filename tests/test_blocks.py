"""Every code block of the pages is run, or it is said here why not.

`make test` has each command taken by its program's own parser. `make test-ci` runs the
commands in the blocks of a page in order, in a copy of the project, and compares the
lines that they print with those of the page.
"""

import importlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

import made_runs
import pytest
from conftest import PROJECT_DIR, write_small_data
from pages import COMMANDS, PAGES, blocks, commands_in_blocks, commands_in_text
from PIL import Image, ImageDraw
from scripts import PATIENCE, SLOW, environment, hear_ctrl_c, read_until

import compare
import launch
import predict
from seqmnist.cli import parser
from seqmnist.distributed import cluster

# The tests that run the blocks that are not commands, by the blocks' names.
TESTS = {
    **dict.fromkeys(["folders", "directions"], "test_docs.py"),
    **dict.fromkeys(["imports", "before", "after"], "test_migrating.py"),
    **dict.fromkeys(["restore", "fast"], "test_migrating.py"),
    "cell": "test_fourth_cell.py",
    "notebook": "test_own_scripts.py",
    "convert": "data/test_other_sets.py",
    "job": "distributed/test_workers.py",
}

# Commands that no test tries, and why.
NOT_TRIED = {
    "cat": "shows a file; the tests write it",
    "git": "downloads the project",
    "pip": "downloads packages",
    "iptables": "changes the firewall of this machine",
    "ip6tables": "changes the firewall of this machine",
}

# Commands whose options are only seen when they are run, by `make test-ci`.
NOT_TAKEN = ("tensorboard", "saved_model_cli")

# Commands that are not run; their words are taken by the program's parser.
NOT_RUN = {
    **NOT_TRIED,
    "make": "downloads packages; trains and tests for minutes",
    ".venv/bin/python": "runs tests, as this one is run",
    "TF_CONFIG": "names other machines; the test of the block `job` has it on this one",
}

# What makes a command short; `few` is a folder with a few images.
NEW_RUN = "--data-dir few --validation-size 20 --summaries scalars --recurrence plain"
SHORTER = [
    (r"(train_\w+\.py)(?!.*--resume)", rf"\1 {NEW_RUN}"),
    (r"(train_\w+\.py)(?!.*--(resume|steps|epochs))", r"\1 --steps 3 --report-every 2"),
    (r"^tensorboard", "tensorboard --inspect"),
]

# The folder of a run that was there when the page was written, and a checkpoint.
RUN_DIR = re.compile(r"\bRUN_DIR\b|\blogs/(train_\w+)/(\d+-\d+-[\w.-]*seed\d+)")
CHECKPOINT = "old/model.ckpt-1000"


def shortened(line):
    """A command line that takes seconds."""
    for pattern, short in SHORTER:
        line = re.sub(pattern, short, line)
    return line


def write_files(folder):
    """Writes the files that pages show with `cat`, with short runs."""
    for page in PAGES:
        for command in commands_in_blocks(page):
            if command.words[0] == "cat":
                text = "\n".join(map(shortened, command.output))
                (folder / command.words[1]).write_text(text)


def program(words):
    """The program that a command starts, or the variable that it sets for it."""
    return words[0].partition("=")[0]


def form(line):
    """A line without what differs between two runs."""
    line = re.sub(r"^recurrence: .*", "recurrence:", line)  # it depends on the cores
    line = line.replace("  (wrong)", "")  # few steps teach little
    line = re.sub(r"\d{8}-\d{6}-\S*seed\d+", "RUN", line)  # as shortened commands say
    return re.sub(r"-?\d[\d,.]*", "0", " ".join(line.split()))


def check_printed(lines, printed):
    """Asserts that lines of a page were printed, in this order, but for numbers."""
    found = [form(line) for line in printed.splitlines()]
    for line in lines:
        if line == "...":
            continue
        pattern = ".*".join(map(re.escape, form(line).split("...")))
        while found and not re.fullmatch(pattern, found[0]):
            del found[0]
        assert found, f"not printed: {line}\n{printed}"
        del found[0]


def test_every_block_that_is_not_commands_has_its_test():
    others = [b for page in PAGES for b in blocks(page) if b.info not in COMMANDS]
    assert sorted(block.name for block in others) == sorted(TESTS)
    for name, file in TESTS.items():
        assert f'"{name}"' in (PROJECT_DIR / "tests" / file).read_text()


# By `make test`: the commands are taken by the parsers.


def make_runs(log_dir):
    """Writes the three runs of `make` by hand."""
    for script, correct, options in (
        ("train_lstm", 195, {"cell_name": "lstm_cell", "units": 128}),
        ("train_gru_pixel", 193, {"cell_name": "gru_cell", "view": "pixels"}),
        ("train_rnn", 150, {}),
    ):
        run = made_runs.make_run(log_dir, 0, correct, script, epochs=2, **options)
        made_runs.predict(run, range(correct, 200))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with runs, in which launch.py starts no process."""
    monkeypatch.chdir(tmp_path)
    for module in (compare, launch):
        monkeypatch.setattr(module, "LOG_DIR", tmp_path / "logs")
    monkeypatch.setattr(
        launch, "run_workers", lambda n, command, _: take_python(command)
    )
    monkeypatch.setattr(launch, "run_sweep", lambda jobs, log_dir, num_jobs: 0)
    make_runs(tmp_path / "logs")
    write_files(tmp_path)
    return tmp_path


def take(words):
    """Has a program take its words as it does when it is run, but not train."""
    name = program(words)
    if name == "TF_CONFIG":
        assert cluster.read_cluster({name: words[0].partition("=")[2]})
        take(words[1:])
    elif name == "make":
        take_make(words)
    elif name in ("python", ".venv/bin/python"):
        assert not take_python(words[1:])
    else:
        assert name in NOT_TRIED or name in NOT_TAKEN, f"no test knows {name}"


def take_make(words):
    """Takes the scripts that make would run."""
    process = subprocess.run(
        [*words, "--dry-run"],
        cwd=str(PROJECT_DIR),
        env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")},
        capture_output=True,
        text=True,
    )
    assert (process.returncode, process.stderr) == (0, "")
    for line in process.stdout.splitlines():
        if line.startswith(".venv/bin/python ") and " -m " not in line:
            take(shlex.split(line))


def take_python(words):
    """Takes what comes after `python`; returns the exit status."""
    first, *argv = words
    name = first.partition(".")[0]
    if first == "-c":
        compile(argv[0], "-c", "exec")
    elif first == "-m":
        assert argv[0] == "pytest" and (PROJECT_DIR / argv[1]).is_file()
    elif name == "predict":
        predict.check_arguments(predict.make_parser().parse_intermixed_args(argv))
    elif name in ("compare", "launch"):
        return importlib.import_module(name).main(argv)
    elif name.startswith("train_"):
        script = importlib.import_module(name)
        parser.parse(argv, name, script.__doc__, script.DEFAULTS, script.PRESETS)
    else:
        text = (PROJECT_DIR / first).read_text()
        options = {word for word in argv if word.startswith("--")}
        assert options <= set(re.findall("--[a-z-]+", text))
    return 0


def each_command():
    """A test's parameters: the different commands of all pages."""
    found = {}
    for page in PAGES:
        for command in [*commands_in_blocks(page), *commands_in_text(page)]:
            found.setdefault((command.line, *command.output), (page, command))
    return [
        pytest.param(command, id=f"{page.name}: {' '.join(command.words)}")
        for page, command in found.values()
    ]


@pytest.mark.parametrize("command", each_command())
def test_a_command_is_taken(command, folder, capsys):
    words = command.words
    if ">" in words:
        words = words[: words.index(">")]
    for script, name in RUN_DIR.findall(command.line):
        if script:
            made_runs.make_run(folder / "logs", 0, 190, script, name, epochs=2)
    for log_dir in re.findall(r"--log-dir (\S+)", command.line):
        make_runs(folder / log_dir)
    try:
        take(words)
    except SystemExit as stop:  # argparse's way, after --help too
        assert stop.code == 0
    printed = capsys.readouterr().out
    if printed:  # by compare.py; the others are run by `make test-ci`
        check_printed(command.output, printed)


# By `make test-ci`: the commands in blocks are run.


@pytest.fixture
def copy(tmp_path, splits):
    """A copy of the project with few images and the runs of `make`."""
    for path in PROJECT_DIR.glob("*.py"):
        shutil.copy(str(path), str(tmp_path))
    shutil.copytree(str(PROJECT_DIR / "seqmnist"), str(tmp_path / "seqmnist"))
    (tmp_path / "few").mkdir()
    write_small_data(tmp_path / "few", splits)
    make_runs(tmp_path / "logs")
    write_files(tmp_path)
    return tmp_path


def start(line, folder):
    """Starts a command line, with the programs of the Python that runs the tests."""
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    return subprocess.Popen(
        ["bash", "-c", line],
        cwd=str(folder),
        env={**environment(), "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=hear_ctrl_c,
    )


def run(line, folder):
    """Runs a command line; returns what it prints."""
    with start(line, folder) as process:
        printed, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, f"{line}\n{printed}"
    return printed


def run_to_ctrl_c(line, folder):
    """Runs a command line, and stops it by Ctrl-C; returns what it prints."""
    # So many units take some seconds, in which the signal comes for certain.
    with start(f"exec {line} --units 500", folder) as process:
        printed = read_until(process, process.stdout, "epoch ")
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, printed + rest
    return f"{printed}^C\n{rest}"


def trained_run(script, folder):
    """The last run of a script that was trained in the copy, now if not before."""
    pattern = f"logs/{script or '*'}/*/checkpoints"
    if not any(folder.glob(pattern)):
        run(shortened(f"python {script or 'train_lstm'}.py --preset quick"), folder)
    newest = max(folder.glob(pattern), key=os.path.getmtime)
    return newest.parent.relative_to(folder)


def with_files(line, folder):
    """A command line with runs that are there; its pictures are made."""
    line = RUN_DIR.sub(lambda found: str(trained_run(found.group(1), folder)), line)
    if CHECKPOINT in line:
        checkpoint = trained_run("train_lstm", folder) / "checkpoints" / "model.ckpt-3"
        line = line.replace(CHECKPOINT, str(checkpoint))
    if line.startswith("python predict.py"):
        words = shlex.split(line, comments=True)[2:]
        for name in predict.make_parser().parse_intermixed_args(words).images:
            picture = Image.new("RGB", (640, 480), "ivory")
            ImageDraw.Draw(picture).line([(250, 90), (370, 90), (310, 390)], "navy", 30)
            picture.save(str(folder / name))
    return line


def commands_to_run(page):
    """Those of a page's blocks, without what an earlier page has too."""
    earlier = [c for p in PAGES[: PAGES.index(page)] for c in commands_in_blocks(p)]
    return [
        command
        for command in commands_in_blocks(page)
        if program(command.words) not in NOT_RUN
        and (command.output or command not in earlier)
    ]


@SLOW
@pytest.mark.parametrize(
    "page", list(filter(commands_to_run, PAGES)), ids=lambda page: page.name
)
def test_the_commands_of_a_page_run(page, copy):
    for command in commands_to_run(page):
        line = with_files(shortened(command.line), copy)
        is_stopped = "^C" in command.output
        printed = run_to_ctrl_c(line, copy) if is_stopped else run(line, copy)
        check_printed(command.output, printed)
