"""predict.py: what a run says of pictures and of test images."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import NUM_SMALL_TEST, write_small_data
from PIL import Image, ImageDraw
from scripts import main, run, run_code, run_folders, slow_after

import predict
from seqmnist.record import figures

NUM_FILES = 60
STEPS = 220


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run that has learned to read digits, and what it printed."""
    log_dir = tmp_path_factory.mktemp("trained")
    argv = [
        *("--log-dir", str(log_dir), "--units", "48", "--learning-rate", "0.01"),
        *("--batch-size", "100", "--steps", str(STEPS), "--evaluate-every", "110"),
        *("--predict", "8", "--summary-every", "0", "--summaries", "scalars"),
    ]
    status, out, err = run(["train_lstm.py", *argv])
    assert (status, err) == (0, "")
    (folder,) = run_folders(log_dir, "train_lstm")
    return folder, out


@pytest.fixture
def run_dir(trained, tmp_path):
    """A copy of the run's folder, to be changed."""
    return shutil.copytree(str(trained[0]), str(tmp_path / "run"))


@pytest.fixture
def ask(capsys):
    """Calls predict.py; returns its lines, having checked status and stderr."""

    def call(*argv, status=0, err=""):
        assert predict.main([str(word) for word in argv]) == status
        found = capsys.readouterr()
        assert found.err == err
        return found.out.splitlines()

    return call


@pytest.fixture
def refused(capsys):
    """Calls predict.py with what it refuses; returns the line on stderr."""

    def call(*argv):
        try:
            status = predict.main([str(word) for word in argv])
        except SystemExit as error:  # argparse's way
            status = error.code
        out, err = capsys.readouterr()
        assert (status, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        return err

    return call


def labels(lines):
    """The predicted labels."""
    found = [re.search(r"predicted label (\d)", line) for line in lines]
    return [int(match.group(1)) for match in found if match]


def row(lines, name):
    """The numbers of the rows of this name."""
    rows = [line.split() for line in lines if line.startswith(f"  {name} ")]
    return np.array([list(map(float, words[1:])) for words in rows])


def draw(digit, path, size, width, ink, paper, place=0):
    """Draws a digit as a person would, with a pen of this width."""
    strokes = {
        0: [(50, 5), (25, 30), (25, 70), (50, 95), (75, 70), (75, 30), (50, 5)],
        1: [(50, 5), (50, 95)],
        3: [(25, 10), (70, 10), (42, 45), (75, 65), (60, 95), (25, 90)],
        7: [(20, 10), (75, 10), (45, 95)],
    }
    unit = min(size) / 130
    points = [(place + unit * (x + 10), unit * (y + 15)) for x, y in strokes[digit]]
    image = Image.new("RGB", size, paper)
    ImageDraw.Draw(image).line(points, fill=ink, width=width, joint="curve")
    image.save(str(path))


def test_drawn_digits_in_odd_sizes_and_polarities_are_read(trained, ask, tmp_path):
    files = [tmp_path / name for name in ("7.png", "0.bmp", "1.jpg", "3.gif")]
    draw(7, files[0], (640, 480), 45, "navy", "ivory", place=100)
    draw(0, files[1], (61, 97), 6, "white", "black")
    draw(1, files[2], (333, 200), 14, (60, 60, 60), (200, 190, 170), place=40)
    draw(3, files[3], (97, 89), 8, "yellow", "purple")
    lines = ask(trained[0], *files)
    assert lines[0] == f"run: {trained[0]}, latest weights, of step {STEPS}"
    assert labels(lines) == [7, 0, 1, 3]
    assert lines[1] == (
        f"{files[0]}: 640 x 480 pixels, dark on light (guessed by the border); digit "
        "scaled to 13 x 20 and centred"
    )
    assert "light on dark (guessed by the border)" in lines[6]
    assert "dark on light (guessed by the border)" in lines[11]
    assert "97 x 89 pixels, light on dark" in lines[16]
    assert len(lines) == 21


def test_test_images_from_files_are_classified_as_well_as_before(
    trained, ask, splits, tmp_path
):
    """As they are, and enlarged, inverted, off the centre, and as a JPEG."""
    test = splits.test
    originals, changed = [], []
    for index in range(NUM_FILES):
        image = Image.fromarray(test.images[index])
        originals.append(tmp_path / f"{index}.png")
        image.save(str(originals[-1]))
        side = 61 + 7 * index
        wide = Image.new("L", (2 * side, side + 31))
        wide.paste(image.resize((side, side), Image.Resampling.BICUBIC), (index, 23))
        changed.append(tmp_path / f"{index}.jpg")
        wide.point(lambda value: 240 - 0.8 * value).save(str(changed[-1]))
    wanted = test.labels[:NUM_FILES]
    lines = ask(trained[0], *originals)
    before = (labels(lines) == wanted).sum()
    assert before >= 0.9 * NUM_FILES
    assert all("; taken as it is" in line for line in lines[1::5])
    by_index = ask(trained[0], "--test-index", *range(NUM_FILES))
    np.testing.assert_array_equal(row(lines, "logit"), row(by_index, "logit"))
    assert (labels(ask(trained[0], *changed)) == wanted).sum() >= before - 2


def test_a_test_image_is_predicted_as_the_training_did(trained, ask, splits):
    lines = ask(trained[0], "--test-index", "8")
    printed = trained[1].splitlines()
    at = printed.index("test image 8: actual label 5")
    logits = np.array(list(map(float, printed[at + 1].split()[1:])))
    np.testing.assert_allclose(row(lines, "logit")[0], logits, atol=6e-4)
    predicted = int(printed[at + 2].split()[-1])
    exponentials = np.exp(logits)
    probabilities = exponentials / exponentials.sum()
    np.testing.assert_allclose(row(lines, "prob.")[0], probabilities, atol=1e-4)
    verdict = f"  actual label 5  predicted label {predicted}  probability "
    verdict += f"{row(lines, 'prob.')[0].max():.4f}"
    assert lines[1:3] == [
        "test image 8",
        verdict + ("" if predicted == 5 else "  (wrong)"),
    ]
    assert row(lines, "class")[0].tolist() == list(range(10))


def test_what_is_wrong_is_noted(trained, ask, splits):
    lines = ask(trained[0], "--test-index", *range(100))
    verdicts = [line for line in lines if "actual label" in line]
    assert len(verdicts) == 100
    wrong = labels(lines) != splits.test.labels[:100]
    assert wrong.any()
    assert [line.endswith("  (wrong)") for line in verdicts] == wrong.tolist()


def test_the_polarity_can_be_forced(trained, ask, tmp_path):
    draw(7, tmp_path / "7.png", (90, 90), 8, "black", "white")
    guessed = ask(trained[0], tmp_path / "7.png")
    given = ask(trained[0], "--polarity", "dark-on-light", tmp_path / "7.png")
    assert guessed[2:] == given[2:]
    assert "dark on light;" in given[1]
    other = ask(trained[0], "--polarity=light-on-dark", tmp_path / "7.png")
    assert other[2:] != given[2:]


@pytest.mark.parametrize("suffix", slow_after(1, ["png", "PDF", "svg"]))
def test_the_figure_is_of_the_kind_that_its_name_says(
    suffix, trained, ask, tmp_path, monkeypatch
):
    drawn = {}

    def remember(figure, **kwargs):
        drawn.update(kwargs)

    monkeypatch.setattr(predict.reading, "draw_reading", remember)
    draw(7, tmp_path / "7.png", (90, 90), 8, "black", "white")
    file = tmp_path / f"figure.{suffix}"
    lines = ask(trained[0], tmp_path / "7.png", "--test-index", 0, "--figure", file)
    assert lines[-1] == f"figure: {file}"
    start = {"png": b"\x89PNG", "PDF": b"%PDF", "svg": b"<?xml"}[suffix]
    assert file.read_bytes().startswith(start)
    assert drawn["labels"] == [None, 7]
    assert drawn["probabilities"].shape == (2, 28, 10)
    last = drawn["probabilities"][:, -1]
    np.testing.assert_allclose(last, row(lines, "prob."), atol=6e-5)
    assert not list(tmp_path.glob("*.partial"))


def test_the_best_checkpoint_can_be_asked_for(run_dir, ask):
    best = ask(run_dir, "--checkpoint", "best", "--test-index", 0)
    assert re.search(r"best weights, of step (110|220)$", best[0])


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    run_dir, capsys, trained
):
    data = f"model.ckpt-{STEPS}.data-00000-of-00001"
    path = f"{run_dir}/checkpoints/{data}"
    with open(path, "r+b") as file:
        file.seek(1000)
        bits = file.read(1)[0]
        file.seek(1000)
        file.write(bytes([bits ^ 1]))
    assert predict.main([run_dir, "--test-index", "0"]) == 0
    out, err = capsys.readouterr()
    assert f"{data} is not what was written" in err
    assert err.endswith("; an older one is used\n")
    step = int(re.search(r"of step (\d+)", out).group(1))
    assert 0 <= step < STEPS


def test_without_a_checkpoint_there_is_one_line(run_dir, refused):
    shutil.rmtree(f"{run_dir}/checkpoints")
    assert refused(run_dir, "--test-index", 0) == (
        f"error: {run_dir}: no checkpoint to predict with (it has none); train it "
        "first, or give the folder of another run\n"
    )


def change_config(run_dir, **values):
    path = f"{run_dir}/config.json"
    with open(path) as file:
        record = {**json.load(file), **values}
    with open(path, "w") as file:
        json.dump({name: v for name, v in record.items() if v is not None}, file)


def test_options_that_are_newer_than_the_run_have_their_defaults(run_dir, trained, ask):
    lines = ask(run_dir, "--test-index", 0)
    change_config(run_dir, evaluation_batch_size=None, recurrence=None)
    assert ask(run_dir, "--test-index", 0) == lines


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"script": "train_cnn"},
            "of 'train_cnn', which is no script in the",
        ),
        ({"script": ["x"]}, "a run of \"['x']\", which is no script"),
        ({"units": 9}, "is a checkpoint of another network: "),
        ({"units": "many"}, "config.json: argument --units: found 'many'"),
        ({"polarity": "x"}, "num_classes 10, polarity x and classes"),
        ({"polarity": ["x"]}, "polarity ['x'] and classes"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(values, message, run_dir, refused):
    change_config(run_dir, **values)
    found = refused(run_dir, "--test-index", 0)
    assert message in found


def test_other_data_are_told_of_and_moved_ones_are_found(
    run_dir, ask, refused, small_data, splits, tmp_path, capsys
):
    data_dir = tmp_path / "moved"
    data_dir.mkdir()
    change_config(run_dir, data_dir=str(tmp_path / "gone"))
    found = refused(run_dir, "--test-index", 0)
    assert "gone: cannot be read as a folder" in found
    write_small_data(data_dir, splits)
    change_config(run_dir, validation_size=20)
    argv = [run_dir, "--data-dir", str(data_dir), "--test-index"]
    assert predict.main([*argv, "0"]) == 0
    out, err = capsys.readouterr()
    assert labels(out.splitlines()) == [7]
    assert re.match(
        r".*moved holds other data \(SHA-256 \w{64}\) than the run was", err
    )
    assert f"--test-index 130: expected 0 to {NUM_SMALL_TEST - 1}, as" in refused(
        *argv, 1, 130
    )


def test_what_a_run_says_of_its_data_does_not_reach_the_terminal_as_it_is(
    run_dir, capsys
):
    change_config(run_dir, data_sha256="\x1b[2J\n")
    assert predict.main([run_dir, "--test-index", "0"]) == 0
    err = capsys.readouterr().err
    assert err.endswith(r"than the run was trained on (\x1b[2J\n)" + "\n")
    assert err.count("\n") == 1


def test_unreadable_pictures_are_named_and_the_others_predicted(trained, ask, tmp_path):
    draw(7, tmp_path / "7.png", (90, 90), 8, "black", "white")
    (tmp_path / "bad.png").write_text("nothing")
    err = (
        f"error: {tmp_path / 'bad.png'}: is no picture that can be read; expected PNG, "
        "JPEG, GIF, BMP, TIFF, WEBP, PPM, ICO or TGA\n"
    )
    files = [tmp_path / "bad.png", tmp_path / "7.png"]
    assert labels(ask(trained[0], *files, status=2, err=err)) == [7]
    assert ask(trained[0], files[0], status=2, err=err) == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "nothing to predict; expected pictures, --test-index N or --export DIR"),
        (["a.png", "--data-dir", "x"], "--data-dir: does nothing without --test-index"),
        (["--test-index", "0", "--polarity", "light-on-dark"], "--polarity: does not"),
        (["--test-index", "10000"], "--test-index 10000: expected 0 to 9999, as "),
        (["--test-index", "-1"], "expected a whole number of at least 0"),
        (["--test-index", "0", "a.png"], "found 'a.png'; expected a whole number"),
        (["a.png", "--polarty", "auto"], "did you mean --polarity?"),
        (
            ["a.png", "--figure", "a.jpg"],
            "expected a name that ends in .png, .pdf, .svg",
        ),
        (["a.png", "--figure", "no/a.png"], "nothing can be written to"),
        (["--export", "x", "--figure", "f.png"], "found 0 images; expected 1 to 20"),
        (["a.png", "--export", "no/x"], "there is no folder"),
    ],
)
def test_the_command_line_is_checked(
    argv, message, trained, refused, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert message in refused(trained[0], *argv)
    assert not list(tmp_path.iterdir())


def test_no_run_is_no_run(refused, tmp_path):
    assert refused(tmp_path / "no", "a.png") == (
        f"error: {tmp_path / 'no'}: no run to predict with, as config.json cannot be "
        "read (No such file or directory); expected what a run printed as its run "
        "folder\n"
    )
    assert "the following arguments are required: RUN_DIR" in refused()


def test_files_that_are_there_are_not_overwritten(trained, refused, tmp_path):
    (tmp_path / "a.png").write_text("kept")
    argv = [trained[0], "--test-index", 0]
    message = "a.png: exists and is not overwritten; give another name"
    assert message in refused(*argv, "--figure", tmp_path / "a.png")
    assert "holds files, which are not" in refused(*argv, "--export", tmp_path)
    assert (tmp_path / "a.png").read_text() == "kept"


def test_errors_come_before_tensorflow_is_loaded(trained, tmp_path):
    (tmp_path / "bad.png").write_text("nothing")
    argvs = [
        ["--help"],
        [str(tmp_path), "--test-index", "0"],
        [str(trained[0]), str(tmp_path / "bad.png")],
        [str(trained[0]), "--test-index", "10000"],
    ]
    code = (
        "import sys, predict\n"
        f"for argv in {argvs!r}:\n"
        "    try: predict.main(argv)\n"
        "    except SystemExit: pass\n"
        "print('tensorflow' in sys.modules)"
    )
    out, err = run_code(code)
    assert out.splitlines()[-1] == "False"
    assert err.count("error: ") == 3


def test_as_a_process_it_exports_predicts_draws_and_says_nothing_else(
    trained, tmp_path
):
    draw(7, tmp_path / "7.png", (90, 90), 8, "black", "white")
    model, figure = tmp_path / "model", tmp_path / "figure.png"
    argv = [str(trained[0]), "--test-index", "0", "--export", str(model)]
    argv += ["--figure", str(figure), str(tmp_path / "7.png")]
    status, out, err = run(["predict.py", *argv], cwd=str(tmp_path))
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert labels(lines) == [7, 7]
    assert lines[-2:] == ["figure: figure.png", "SavedModel: model"]
    assert (model / "saved_model.pb").is_file()
    height, width = np.asarray(Image.open(str(figure))).shape[:2]
    assert width == 9 * figures.DOTS_PER_INCH
    assert height > 350


@pytest.mark.parametrize(
    ("name", "view"), [("train_rnn", "rows"), ("train_gru_pixel", "pixels")]
)
def test_the_other_scripts_runs_predict_too(name, view, small, tmp_path, ask, capsys):
    argv = [*small, "--steps", "1", "--predict", "3", "--view", view]
    argv += ["--summaries", "scalars"]
    assert main(name, argv) == 0
    printed = capsys.readouterr().out.splitlines()
    (folder,) = run_folders(tmp_path / "logs", name)
    lines = ask(folder, "--test-index", 3)
    logits = next(line for line in printed if line.startswith("  logits"))
    expected = list(map(float, logits.split()[1:]))
    np.testing.assert_allclose(row(lines, "logit")[0], expected, atol=6e-4)


def test_a_file_of_the_users_beside_the_figure_is_left_alone(trained, ask, tmp_path):
    beside = [tmp_path / name for name in ("f.png.partial", ".f.png.partial")]
    for path in beside:
        path.write_text("mine")
    ask(trained[0], "--test-index", 0, "--figure", tmp_path / "f.png")
    assert [path.read_text() for path in beside] == ["mine", "mine"]
    assert sorted(tmp_path.iterdir()) == sorted([*beside, tmp_path / "f.png"])


def test_a_checkpoint_that_is_gone_when_it_is_read_is_not_the_last_word(
    run_dir, ask, monkeypatch
):
    """A run that still trains saves another one and removes the one that was found."""
    found = []
    find = predict.find_checkpoint

    def find_and_lose(*args):
        checkpoint = find(*args)
        found.append(checkpoint.state["step"])
        if len(found) == 2:  # the one that is to be read
            for path in checkpoint.prefix.parent.glob(f"model.ckpt-{found[1]}.*"):
                path.unlink()
        return checkpoint

    monkeypatch.setattr(predict, "find_checkpoint", find_and_lose)
    lines = ask(run_dir, "--test-index", 0)
    assert found == [STEPS, STEPS, 110]
    assert lines[0].endswith("of step 110")


def test_pictures_get_the_polarity_of_the_training(run_dir, ask, tmp_path):
    """The run's record says it; the trained network reads light on dark."""
    config = Path(run_dir) / "config.json"
    record = json.loads(config.read_text())
    assert record["polarity"] == "light-on-dark"
    picture = tmp_path / "7.png"
    draw(7, picture, (640, 480), 45, "navy", "ivory", place=100)
    before = ask(run_dir, picture)
    config.write_text(json.dumps({**record, "polarity": "dark-on-light"}))
    after = ask(run_dir, picture)
    assert after[1].endswith(", dark-on-light like the training images")
    assert row(before, "logit").tolist() != row(after, "logit").tolist()
