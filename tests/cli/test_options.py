"""The command line: presets, overrides, errors; and every option does something."""

import re

import numpy as np
import pytest
from conftest import PROJECT_DIR
from scripts import classifier_of

import train_gru_pixel
import train_lstm
import train_rnn
from seqmnist import tf1 as tf
from seqmnist.cli import options, parser
from seqmnist.cli.types import (
    interval,
    interval_in_seconds,
    interval_in_steps,
    interval_or_time,
)

SCRIPTS = [train_rnn, train_lstm, train_gru_pixel]
EACH_SCRIPT = pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.__name__)


def make_parser(script):
    return parser.make_parser(
        script.__name__, script.__doc__, script.DEFAULTS, script.PRESETS
    )


@EACH_SCRIPT
def test_the_first_preset_is_the_default(script, parse):
    first = next(iter(script.PRESETS))
    found, expected = vars(parse(script, [])), vars(parse(script, ["--preset", first]))
    for name in ("command", "label"):
        found.pop(name), expected.pop(name)
    assert found == expected
    assert found["preset"] == first
    assert found["script"] == script.__name__


def test_presets_are_the_notebooks_settings(parse):
    def found(script, preset, *names):
        config = parse(script, ["--preset", preset])
        return [getattr(config, name) for name in names]

    shared = ("view", "units", "batch_size", "epochs", "steps", "learning_rate")
    for preset in ("basic-rnn-tensorboard", "basic-rnn-curves"):
        assert found(train_rnn, preset, *shared) == ["rows", 150, 150, 100, None, 1e-3]
    assert found(train_rnn, "basic-rnn-tensorboard", "report_every") == ["1epoch"]
    assert found(train_rnn, "basic-rnn-curves", "report_every") == ["10epochs"]
    readout = ("readout_init", "readout_bias", "cell_name", "report_every")
    assert found(train_lstm, "lstm-50", *shared, *readout) == [
        *("rows", 50, 10, None, 10000, 1e-3),
        *("uniform", "uniform", "lstm_cell", "1000steps"),
    ]
    assert found(train_lstm, "lstm-128-prediction", *shared, *readout) == [
        *("rows", 128, 100, None, 1000, 5e-3),
        *("normal", 0.1, "basic_lstm_cell", "100steps"),
    ]
    schedule = ("schedule", "decay_rate", "decay_steps", "forget_bias", "predict")
    assert found(train_lstm, "lstm-128-prediction", *schedule) == [
        *("exponential", 0.9, 10000, 1.0, 0)
    ]
    assert found(train_gru_pixel, "gru-pixels", *shared, *readout) == [
        *("pixels", 64, 512, None, 10000, 1e-3),
        *("normal", 0.0, "gru_cell", "50steps"),
    ]


@EACH_SCRIPT
def test_the_command_line_wins_over_the_preset(script, parse):
    for preset in script.PRESETS:
        config = parse(script, ["--units", "9", "--preset", preset])
        assert (config.units, config.preset) == (9, preset)


@EACH_SCRIPT
def test_epochs_replace_steps_and_steps_epochs(script, parse):
    for preset in script.PRESETS:
        config = parse(script, ["--preset", preset, "--epochs", "3"])
        assert (config.epochs, config.steps) == (3, None)
        config = parse(script, ["--preset", preset, "--steps", "4"])
        assert (config.epochs, config.steps) == (None, 4)


def test_a_presets_decay_steps_are_of_its_own_schedule(parse):
    exponential = ["--preset", "lstm-128-prediction"]
    assert parse(train_lstm, exponential).decay_steps == 10000
    for argv, expected in (([], "all"), (["--decay-steps", "5000"], 5000)):
        argv = [*exponential, "--schedule", "cosine", *argv]
        assert parse(train_lstm, argv).decay_steps == expected
    presets = {"p": {**train_lstm.PRESETS["best"], "decay_steps": 17000}}
    for argv in ([], ["--schedule", "cosine"]):
        config = parser.parse(argv, "train_lstm", "", train_lstm.DEFAULTS, presets)
        assert config.decay_steps == 17000


@EACH_SCRIPT
def test_every_preset_is_made_of_options_with_allowed_values(script, parse):
    parser = make_parser(script)
    actions = {action.dest: action for action in parser._actions}
    for preset, values in script.PRESETS.items():
        for name, value in values.items():
            words = value if isinstance(value, list) else [str(value)]
            argv = ["--preset", preset, actions[name].option_strings[0], *words]
            assert getattr(parse(script, argv), name) == value


@EACH_SCRIPT
def test_help_names_every_option_its_default_and_the_presets(script, capsys, parse):
    with pytest.raises(SystemExit) as exit_info:
        parse(script, ["--help"])
    assert exit_info.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert script.__doc__.split("\n")[0] in text
    for action in make_parser(script)._actions:
        assert action.option_strings[-1] in text
    for preset in script.PRESETS:
        assert preset in text
    assert f"units of the cell, 1 to 4096 (default: {parse(script, []).units})" in text


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--learning-rat", "1"], "did you mean --learning-rate?"),
        (["--learningrate=1"], "did you mean --learning-rate?"),
        (["--lr", "1"], "did you mean --learning-rate?"),
        (["--bs", "1"], "did you mean --batch-size?"),
        (["--xyzzy"], "unrecognized arguments: --xyzzy"),
        (["7"], "unrecognized arguments: 7"),
        (["--units", "0"], "found '0'; expected a whole number from 1 to 4096"),
        (["--units", "4097"], "found '4097'"),
        (["--units", "1.5"], "found '1.5'"),
        (["--units", ""], "found ''"),
        (["--units"], "--units: expected one argument"),
        (["--batch-size", "0"], "expected a whole number of at least 1"),
        (["--batch-size", "1e3"], "found '1e3'"),
        (["--batch-size", "9" * 30], "found '999"),
        (["--learning-rate", "0"], "--learning-rate: found '0'; expected a number"),
        (["--learning-rate", "1e-39"], "expected a number that float32 can tell from"),
        (["--learning-rate", "nan"], "found 'nan'"),
        (["--learning-rate", "inf"], "found 'inf'"),
        (["--decay-rate", "1.1"], "expected a number above 0, at most 1"),
        (["--decay-steps", "-1"], "expected a whole number of at least 1, or all"),
        (["--warmup-steps", "-1"], "expected a whole number of at least 0"),
        (["--max-grad-norm", "0"], "above 0, at most 3.40282e+38, or none"),
        (["--ema-decay", "1"], "found '1'; expected a number at least 0, below 1"),
        (["--layers", "0"], "found '0'; expected a whole number from 1 to 16"),
        (["--max-shift", "65"], "found '65'; expected a whole number from 0 to 64"),
        (["--max-slant", "1.5"], "a number at least 0, at most 1"),
        (["--max-stretch", "1"], "a number at least 0, at most 0.5"),
        (["--max-bend", "-1"], "a number at least 0, at most 8"),
        (["--permute", "x"], "a whole number from 0 to 2147483647, or none"),
        (["--bias-init", "ones"], "invalid choice: 'ones'"),
        (["--schedule", "cosine", "--decay-rate", "0.5"], "with --schedule cosine"),
        (["--bias-init", "chrono", "--forget-bias", "2"], "which sets the sum of both"),
        (["--seed", "2147483648"], "expected a whole number from 0 to 2147483647"),
        (["--seed", "-1"], "found '-1'"),
        (["--steps", "1", "--epochs", "1"], "not allowed with argument"),
        (["--report-every", "0"], "expected 50steps, 1epoch or the like, or never"),
        (["--evaluate-every", "2 weeks"], "found '2 weeks'"),
        (["--evaluate-splits", "train"], "invalid choice: 'train'"),
        (["--evaluate-splits"], "expected at least one argument"),
        (["--view", "columns"], "invalid choice: 'columns'"),
        (["--preset", "x"], "invalid choice: 'x'"),
        (["--predict", "first"], "a whole number of at least 0, or none"),
        (["--readout-bias", "x"], "at most 3.40282e+38, or uniform"),
        (["--readout-bias", "1e39"], "found '1e39'"),
        (["--forget-bias", "-1e39"], "expected one argument (one that begins with -"),
        (["--forget-bias=-1e39"], "found '-1e39'"),
        (["--log-dir", ""], "--log-dir: found ''; expected a path"),
        (["--data-dir", "\udcff"], "expected a path in UTF-8"),
        (["--data-dir", "a\0b"], r"found 'a\x00b'; expected a path"),
        (["--units", "9" * 10**5], "9'; expected a whole number from 1 to 4096"),
        (["--log-dir", "gs://bucket/logs"], "a path of this machine's own"),
        (["--data-dir", "file:///data"], "found 'file:///data'"),
        (["--init-checkpoint="], "--init-checkpoint: found ''"),
        (["--cell-name", "a/b"], "found 'a/b'"),
        (["--summary-every", "-2"], "found '-2'"),
        (["--checkpoint-every", "0s"], "expected 30seconds, 50steps, 1epoch or the"),
        (["--checkpoint-every", "1hour"], "found '1hour'"),
        (["--decay-rate", "0.5"], "does nothing with --schedule constant; add"),
        (["--preset", "lstm-50", "--decay-steps", "5"], "--decay-steps: does nothing"),
        (["--evaluate-splits", "test", "--evaluate-every", "never"], "does nothing"),
        (["--init-checkpoint", "a", "--bias-init", "chrono"], "sets all weights"),
        (["--coarse-part", "1"], "expected a number at least 0, below 1"),
        (["--coarse-part", "0.5"], "in reading order; add --view pixels"),
        (["--coarse-part", "0.5", "--view", "pixels", "--permute"], "out --permute"),
        (["--init-checkpoint", "a", "--readout-bias", "0"], "--readout-bias: does no"),
        (["--evaluate-splits", "validation", "--validation-size", "0"],
         "there is no validation split; leave out validation"),
        (["--resume"], "--resume: expected one argument"),
        (["--seed=--"], "argument --seed: found '--'; expected a value"),
        (["a\nb"], r"unrecognized arguments: a\nb"),
    ],
)  # fmt: skip
def test_errors_are_one_line_with_status_2(argv, message, parse, capsys):
    with pytest.raises(SystemExit) as exit_info:
        parse(train_lstm, argv)
    assert exit_info.value.code == 2
    out, err = capsys.readouterr()
    assert not out
    assert message in err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert "train_lstm.py --help" in err and len(err) < 1100


def test_an_option_that_only_other_scripts_have_is_refused(parse, capsys):
    """A BasicRNN has no gates to be biased, and only an LSTM has a forget bias."""
    assert parse(train_lstm, ["--forget-bias", "-1.5"]).forget_bias == -1.5
    assert parse(train_gru_pixel, ["--bias-init", "uniform"]).bias_init == "uniform"
    for script, name in (
        (train_rnn, "forget_bias"),
        (train_rnn, "bias_init"),
        (train_rnn, "coarse_part"),
        (train_gru_pixel, "forget_bias"),
    ):
        assert name not in vars(parse(script, []))
        with pytest.raises(SystemExit):
            parse(script, [options.flag(name), "1"])
        said = f"{script.__name__}.py does not have this option, others do"
        assert said in capsys.readouterr().err


def test_a_tilde_is_the_home_folder_also_behind_an_equals_sign(parse, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert parse(train_rnn, ["--log-dir=~/runs"]).log_dir == "/home/me/runs"


def test_help_is_printed_as_it_is(capsys):
    help_parser = parser.OneLineParser(prog="x", description="50% of it")
    help_parser.add_argument("--log-dir", help="the folder 100%s")
    with pytest.raises(SystemExit):
        help_parser.parse_args(["--help"])
    out = capsys.readouterr().out
    assert "50% of it" in out and "the folder 100%s" in out


def test_permute_is_given_with_a_seed_or_without(parse):
    assert parse(train_rnn, ["--permute", "--units", "3"]).permute == 92916
    assert parse(train_rnn, ["--permute", "3"]).permute == 3
    assert parse(train_rnn, ["--permute", "none"]).permute is None


def test_a_split_named_twice_is_evaluated_once(parse):
    argv = ["--evaluate-splits", "test", "validation", "test"]
    assert parse(train_rnn, argv).evaluate_splits == ["test", "validation"]


def test_intervals_have_one_form():
    forms = {
        "50": "50steps",
        "1": "1step",
        "1steps": "1step",
        "02 epochs": "2epochs",
        "1epoch": "1epoch",
        "never": "never",
    }
    assert {text: interval(text) for text in forms} == forms
    in_steps = [interval_in_steps(form, 366) for form in sorted(set(forms.values()))]
    assert in_steps == [366, 1, 732, 50, 0]


def test_checkpoint_intervals_may_be_times():
    forms = {"30": "30steps", "30s": "30seconds", "1 second": "1second"}
    forms["2epochs"] = "2epochs"
    assert {text: interval_or_time(text) for text in forms} == forms
    seconds = [interval_in_seconds(form) for form in forms.values()]
    assert seconds == [None, 30, 1, None]
    assert [interval_in_steps(f, 366) for f in forms.values()] == [30, 0, 0, 732]


def test_the_command_is_kept_as_it_was_typed(parse):
    config = parse(train_rnn, ["--log-dir", "a folder", "--seed", "3"])
    assert config.command == "train_rnn.py --log-dir 'a folder' --seed 3"


@pytest.mark.parametrize(
    ("options", "label"),
    [
        ([], "seed0"),
        (["--preset", "quick", "--seed", "3"], "quick-seed3"),
        (
            ["--units=30", "--permute", "--preset=best"],
            "best-units-30-permute-seed0",
        ),
        (["--preset=best", "--readout-bias=-0.5"], "best-readout-bias--0.5-seed0"),
        # What no number depends on, the length, which may grow, and a path.
        (["--preset=best", "--report-every=never", "--steps=9"], "best-seed0"),
        (["--preset=best", "--init-checkpoint", "a/b"], "best-seed0"),
        # What would be too long is left out, what is short is not.
        (
            ["--cell-name", "n" * 40, "--units", "3", "--preset", "quick"],
            "quick-units-3-seed0",
        ),
    ],
)
def test_a_run_is_named_after_what_distinguishes_it(options, label, parse):
    assert parse(train_rnn, options).label == label


EXPONENTIAL = ["--schedule", "exponential", "--decay-steps"]

# Every option that changes the graph or its initial values: another value must.
GRAPH_OPTIONS = {
    "view": ["--view", "pixels"],
    "permute": ["--permute"],
    "input_scale": ["--input-scale", "symmetric"],
    "units": ["--units", "7"],
    "layers": ["--layers", "2"],
    "recurrent_init": ["--recurrent-init", "orthogonal"],
    "bias_init": ["--bias-init", "chrono"],
    "forget_bias": ["--forget-bias", "0"],
    "cell_name": ["--cell-name", "other"],
    "readout_init": ["--readout-init", "normal"],
    "readout_bias": ["--readout-bias", "0.5"],
    "dropout": ["--dropout", "0.5"],
    "recurrent_dropout": ["--recurrent-dropout", "0.5"],
    "label_smoothing": ["--label-smoothing", "0.1"],
    "learning_rate": ["--learning-rate", "0.01"],
    "schedule": ["--schedule", "cosine", "--decay-steps", "5"],
    "decay_rate": [*EXPONENTIAL, "100", "--decay-rate", "0.5"],
    "decay_steps": [*EXPONENTIAL, "3"],
    "warmup_steps": ["--warmup-steps", "5"],
    "max_grad_norm": ["--max-grad-norm", "0.001"],
    "weight_decay": ["--weight-decay", "1"],
    "seed": ["--seed", "1"],
}
# The others, and the test that shows what they do.
OTHER_OPTIONS = {
    "help": "test_help_names_every_option_its_default_and_the_presets",
    "preset": "test_presets_are_the_notebooks_settings",
    "data_dir": "test_scripts.test_data_dir_is_read",
    "emnist_split": "test_other_sets.test_one_of_emnists_splits_is_chosen",
    "class_names": (
        "test_other_sets.test_a_set_of_many_classes_trains_resumes_and_is_drawn"
    ),
    "validation_size": "test_mnist.test_validation_size_moves_the_border",
    "max_shift": "test_training.test_distortions_are_of_what_is_trained_on_alone",
    "max_slant": "test_training.test_distortions_are_of_what_is_trained_on_alone",
    "max_stretch": "test_training.test_distortions_are_of_what_is_trained_on_alone",
    "max_bend": "test_training.test_distortions_are_of_what_is_trained_on_alone",
    "coarse_part": "test_training.test_coarse_steps_read_images_of_half_the_size",
    "ema_decay": "test_training.test_the_average_is_what_is_evaluated",
    "init_checkpoint": "test_scripts.test_init_checkpoint_is_evaluated",
    "batch_size": "test_training.test_a_line_is_printed_per_report",
    "epochs": "test_training.test_a_line_is_printed_per_report",
    "steps": "test_training.test_rows_come_at_the_steps_that_were_asked_for",
    "report_every": "test_training.test_rows_come_at_the_steps_that_were_asked_for",
    "evaluate_every": "test_training.test_rows_come_at_the_steps_that_were_asked_for",
    "evaluate_splits": "test_training.test_rows_come_at_the_steps_that_were_asked_for",
    "evaluation_batch_size": "test_scripts.test_evaluation_batch_size_is_used",
    "recurrence": "test_engine.test_recurrence_chooses_the_path",
    "worker_timeout": "test_workers.test_a_worker_that_hangs_ends_the_other",
    "resume": "test_resume.test_a_resumed_run_ends_as_if_it_had_not_been_stopped",
    "checkpoint_every": "test_resume.test_checkpoint_every_decides_how_often",
    "log_dir": "test_scripts.test_each_run_gets_a_new_folder",
    "summary_every": "test_scripts.test_summary_every_counts_the_summaries",
    "summaries": "test_illustrator.test_scalars_only_leaves_the_rest_out",
    "trace_steps": "test_illustrator.test_trace_steps_writes_a_timeline",
    "predict": "test_training.test_the_last_line_is_the_result",
    "show": "test_scripts.test_show_without_a_screen_says_where_the_figure_is",
}


def fingerprint(script, argv, parse):
    """What a graph starts from and comes to: initial sums, loss after 4 steps."""
    config = parse(script, ["--readout-bias", "0", "--view", "rows", *argv])
    classifier = classifier_of(script, config)
    pixels = np.arange(2 * 784).reshape(2, 28, 28) % 251
    feed = {classifier.images: pixels.astype(np.uint8), classifier.labels: [3, 8]}
    with tf.Session(graph=classifier.graph) as session:
        session.run(classifier.init_op)
        variables = classifier.graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)
        initial = {v.op.name: float(session.run(v).sum()) for v in variables}
        for _ in range(4):
            session.run(classifier.update.train_op, feed)
        return initial, float(session.run(classifier.evaluation.loss, feed))


@pytest.fixture(scope="module")
def known():
    """The fingerprints that are known already, by arguments."""
    return {}


@pytest.mark.parametrize("name", GRAPH_OPTIONS)
def test_options_of_the_graph_reach_it(name, parse, known):
    base = (*EXPONENTIAL, "100") if name.startswith("decay") else ()
    if base not in known:
        known[base] = fingerprint(train_lstm, base, parse)
    assert known[base] != fingerprint(train_lstm, GRAPH_OPTIONS[name], parse)


def test_the_same_options_give_the_same_graph(parse):
    first, second = (fingerprint(train_lstm, [], parse) for _ in range(2))
    assert first == second


def test_every_option_has_a_test_of_its_effect():
    found = {a.dest for script in SCRIPTS for a in make_parser(script)._actions}
    assert found == set(GRAPH_OPTIONS) | set(OTHER_OPTIONS)
    for test in OTHER_OPTIONS.values():
        module, _, function = test.rpartition(".")
        (path,) = (PROJECT_DIR / "tests").rglob(f"{module or 'test_options'}.py")
        assert f"def {function}(" in path.read_text()


def test_the_documented_table_of_options_is_the_parsers():
    """Names and help texts; a change of either must be made in docs/options.md too."""
    page = (options.DATA_DIR.parent / "docs" / "options.md").read_text()
    rows = re.findall(r"^\| `--([a-z-]+)[^|]*` \| (.*?) \|$", page, re.MULTILINE)
    found = {name.replace("-", "_"): text for name, text in rows}
    expected = {"preset": options.PRESET_HELP}
    expected.update((o.name, o.help) for o in options.BY_NAME.values())
    assert found == expected
