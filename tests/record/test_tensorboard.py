"""TensorBoard shows a run: what it serves, and what is seen in a real browser."""

import json
import os
import urllib.request

import pytest
from browser import Browser, missing, tensorboard
from conftest import TENSORFLOW_VERSION
from scripts import SLOW, main, wait_for

SCALARS = {
    "/train": {
        *("loss", "accuracy", "learning_rate", "gradient_norm", "examples_per_second"),
    },
    "": {"loss", "accuracy", "examples_per_second"},  # of test
}
SCALARS["/validation"] = SCALARS["/train"]
BOXES = ("input", "view", "cell", "readout", "loss", "optimizer")


@pytest.fixture(scope="module")
def served(tmp_path_factory, small_data):
    """TensorBoard on two runs; its address, and the runs' names."""
    log_dir = tmp_path_factory.mktemp("logs")
    common = ["--data-dir", str(small_data), "--log-dir", str(log_dir)]
    common += ["--validation-size", "20", "--batch-size", "50", "--steps", "12"]
    common += ["--evaluate-every", "4steps", "--recurrence", "plain"]
    for script, units in (("train_lstm", "5"), ("train_rnn", "7")):
        assert main(script, [*common, "--units", units]) == 0
    names = [f"{path.parent.name}/{path.name}" for path in sorted(log_dir.glob("*/*"))]
    with tensorboard(log_dir) as address:
        wait_for(lambda: is_read(address, names), "TensorBoard's reading of all runs")
        yield address, names


def is_read(address, names):
    """Whether the last of each kind of events in all folders of the runs is there."""
    kinds = ("scalars", "images", "histograms", "text")
    tags = {kind: get(address, f"plugin/{kind}/tags") for kind in kinds}
    return len(session_groups(address)) == len(names) and all(
        name in tags["text"]
        and f"{name}/train" in tags["histograms"]
        and len(tags["images"].get(name, ())) == 3
        and len(tags["images"].get(f"{name}/validation", ())) == 2
        and all(
            SCALARS[part] <= set(tags["scalars"].get(f"{name}{part}", ()))
            for part in SCALARS
        )
        for name in names
    )


def get(address, path, body=None):
    """What TensorBoard serves its pages with."""
    headers = {"Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/data/{path}", data, headers)
    with urllib.request.urlopen(request) as response:
        content = response.read().decode()
    return json.loads(content) if content.startswith(("{", "[")) else content


def session_groups(address):
    """What the page of hyperparameters shows of the finished runs, by units."""
    request = {"experimentName": "", "startIndex": 0, "sliceSize": 10}
    request["allowedStatuses"] = ["STATUS_SUCCESS"]
    request["colParams"] = [{"hparam": "units", "order": "ORDER_DESC"}]
    found = get(address, "plugin/hparams/session_groups", request)
    return found.get("sessionGroups", [])


def test_the_splits_have_their_scalars_under_the_same_tags(served):
    address, names = served
    tags = get(address, "plugin/scalars/tags")
    for name in names:
        for part, expected in SCALARS.items():
            assert set(tags[f"{name}{part}"]) == expected


def test_images_histograms_and_text_are_served(served):
    address, names = served
    for name in names:
        images = get(address, "plugin/images/tags")
        assert set(images[name]) == {"inputs", "confusion", "mistakes"}
        assert set(images[f"{name}/validation"]) == {"confusion", "mistakes"}
        histograms = set(get(address, "plugin/histograms/tags")[f"{name}/train"])
        variables = {tag.split("/", 1)[1] for tag in histograms}
        assert histograms == {
            f"{kind}/{v}" for kind in ("weights", "gradients") for v in variables
        }
        assert {"dense/kernel", "dense/bias"} < variables and len(variables) == 4
        text = get(address, f"plugin/text/text?run={name}&tag=configuration")
        assert "validation_size" in text[0]["text"] and "20" in text[0]["text"]


def test_the_graph_has_the_scripts_boxes_and_no_others(served):
    address, names = served
    graph = get(address, f"plugin/graphs/graph?run={names[0]}/train&conceptual=false")
    nodes = {
        line.split('"')[1] for line in graph.splitlines() if line.startswith("  name:")
    }
    assert {name.split("/")[0] for name in nodes} == set(BOXES)


def test_runs_are_compared_by_every_option_and_test_accuracy(served):
    address, _ = served
    experiment = get(address, "plugin/hparams/experiment", {"experimentName": ""})
    columns = {info["name"] for info in experiment["hparamInfos"]}
    assert {"script", "units", "learning_rate", "forget_bias", "seed"} < columns
    first = experiment["metricInfos"][0]
    assert first["name"] == {"group": "", "tag": "accuracy"}
    found = session_groups(address)
    assert [group["hparams"]["units"] for group in found] == [7, 5]
    (metric,) = [m for m in found[0]["metricValues"] if m["name"] == first["name"]]
    assert 0 <= metric["value"] <= 1


@pytest.fixture(scope="module")
def browser(served):
    problem = missing()
    if TENSORFLOW_VERSION.startswith("1."):
        pytest.skip("the pages are those of TensorBoard 2; `make test` opens them")
    if problem and "SEQMNIST_NEEDS_BROWSER" not in os.environ:
        pytest.skip(problem)
    assert not problem
    with Browser(served[0]) as browser:
        yield browser


@SLOW
def test_scalars_are_on_the_page(browser):
    browser.open("timeseries")
    words = [*SCALARS["/train"], "validation", "confusion"]
    text = browser.text(*words)
    assert all(word in text for word in words)
    assert browser.paths(3) >= 3  # a curve per split and run


@SLOW
def test_the_graph_is_on_the_page(browser):
    browser.open("graphs")
    text = browser.text(*BOXES)
    assert all(box in text.split() for box in BOXES)


@SLOW
def test_images_are_on_the_page(browser):
    browser.open("images")
    # Two runs: inputs, and confusion and mistakes of two splits; not all unfolded.
    sizes = browser.images(5)
    assert [600, 620] in sizes and len(sizes) >= 5


@SLOW
def test_histograms_are_on_the_page(browser):
    browser.open("histograms")
    words = ("weights/dense/kernel", "gradients/rnn/lstm_cell/bias")
    text = browser.text(*words)
    assert all(word in text for word in words)
    assert browser.paths(8) >= 8


@SLOW
def test_hparams_are_on_the_page(browser):
    browser.open("hparams")
    words = ("learning_rate", "test accuracy", "train_lstm", "train_rnn")
    text = browser.text(*words)
    assert all(word in text for word in words)
