# `make` trains the three networks for a short time and compares them; `make test` tests
# them, within minutes. Both make the environment .venv first, with any Python that
# TensorFlow is built for. `make test-ci` adds what takes long: kills, real workers,
# TensorBoard's pages in a browser, thousands of generated inputs. `make test-all` tries
# these in more ways. `make test-tf1` runs the tests of `make test` on TensorFlow 1.15.5,
# `make test-all-tf1` all of them.
# `make bench` measures the suite and its peers, `make bench-workers` a second worker;
# `make torture` kills and resumes runs; `make results` trains for hours.

PYTHON ?= python3
# python3.7 on the PATH, or one that pyenv keeps.
PYENV_PYTHONS = $(wildcard $(shell pyenv root 2>/dev/null)/versions/3.7.*/bin/python3.7)
PYTHON_TF1 ?= $(lastword python3.7 $(PYENV_PYTHONS))

VENV := .venv
VENV_TF1 := .venv-tf1
VENV_BENCH := .venv-bench

# A process per core; those that are done early take tests over from the others.
IN_PARALLEL := --numprocesses auto --dist worksteal
QUICK := -m "not slow and not variant"

.PHONY: demo test test-ci test-all test-tf1 test-all-tf1 torture torture-tf1 bench bench-workers results lint clean

demo: $(VENV)/installed
	$(VENV)/bin/python train_rnn.py --preset quick
	$(VENV)/bin/python train_lstm.py --preset quick
	$(VENV)/bin/python train_gru_pixel.py --preset quick
	$(VENV)/bin/python compare.py

test: $(VENV)/installed-tests
	$(VENV)/bin/python -m pytest $(IN_PARALLEL) $(QUICK)

test-ci: $(VENV)/installed-tests
	$(VENV)/bin/python -m pytest $(IN_PARALLEL) -m "not variant"

test-all: $(VENV)/installed-tests
	$(VENV)/bin/python -m pytest $(IN_PARALLEL)

test-tf1: $(VENV_TF1)/installed-tests
	$(VENV_TF1)/bin/python -m pytest $(IN_PARALLEL) $(QUICK)

test-all-tf1: $(VENV_TF1)/installed-tests
	$(VENV_TF1)/bin/python -m pytest $(IN_PARALLEL)

# Kills runs at random instants and resumes them; docs/resuming.md has what it found.
torture: $(VENV)/installed
	$(VENV)/bin/python tests/torture.py

torture-tf1: $(VENV_TF1)/installed
	$(VENV_TF1)/bin/python tests/torture.py

# TF 1.15.5 takes part where there is a Python 3.7 for it.
bench: $(VENV)/installed $(VENV_BENCH)/installed
	@$(PYTHON_TF1) --version >/dev/null 2>&1 && $(MAKE) $(VENV_TF1)/installed || \
	  echo "TF 1.15.5 is left out; \`make test-tf1\` says what is missing"
	$(VENV_BENCH)/bin/python benchmarks/run.py

bench-workers: $(VENV)/installed
	$(VENV)/bin/python benchmarks/workers.py

# Trains what the tables in docs/results.md are made of, as far as it is not in results/.
results: $(VENV)/installed
	$(VENV)/bin/python results/reproduce.py

lint: $(VENV)/installed-tests
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

# Removes the environments; runs in logs/ stay.
clean:
	rm -rf $(VENV) $(VENV_TF1) $(VENV_BENCH)

PIP_INSTALL := -m pip install --quiet --disable-pip-version-check -r

# Makes the environment that the target's folder names, with the Python of argument 1 and
# the requirements of argument 2.
define make_environment
$(1) -m venv $(@D)
$(@D)/bin/python $(PIP_INSTALL) $(2)
@touch $@
endef

define check_python
@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || \
  { echo "error: $(PYTHON) is missing or not Python 3.10 to 3.13, for which" \
    "TensorFlow 2.21 is built; name another one: make PYTHON=python3.12" >&2; exit 2; }
endef

$(VENV)/installed: requirements.txt
	$(call check_python)
	$(call make_environment,$(PYTHON),requirements.txt)

$(VENV_TF1)/installed: requirements.txt
	@$(PYTHON_TF1) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 7))' || \
	  { echo "error: $(PYTHON_TF1) is missing or not Python 3.7, for which TensorFlow" \
	    "1.15.5 is built; name one: make test-tf1 PYTHON_TF1=path/to/python3.7" >&2; exit 2; }
	$(call make_environment,$(PYTHON_TF1),requirements.txt)

$(VENV_BENCH)/installed: requirements.txt benchmarks/requirements-bench.txt
	$(call check_python)
	$(call make_environment,$(PYTHON),benchmarks/requirements-bench.txt)

%/installed-tests: %/installed tests/requirements.txt
	$(@D)/bin/python $(PIP_INSTALL) tests/requirements.txt
	@touch $@
