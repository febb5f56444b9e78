# make setup        the environment, with `gazevlm`           make demo  the page on http://127.0.0.1:7860
# make test         style, then every test                    make test-fast  without browser, PostgreSQL, anything slow
# make style        ruff, types, layering                     make bench  the table of ratios
# make update       newest versions that requirements*.txt allow, into requirements.lock
# make test-oldest  the fast tests with the lower bounds of requirements*.txt
# make adapt-check  two adapters from simulated annotations, scored on other phantoms (three minutes)
# make nano         train, score and describe the embedded checkpoint (resumes); REAL=FOLDER learns from films, too,
#                   BASE=gazevlm-nano-base (or a folder) goes on from an earlier checkpoint instead of nothing
#
# Everything is installed at the versions of requirements.lock, so a new release of a library changes nothing by itself.
# Stamps in .venv carry the checksum of what was installed, so nothing is installed again when nothing changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SPARE := .venv-spare
PIP := -m pip install --disable-pip-version-check
RUNTIME := -r requirements.txt
TESTS := $(RUNTIME) -r requirements-test.txt
LOCKED := -c requirements.lock
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder

checksum = $(shell cat $(1) | cksum | cut -d ' ' -f 1)
PACKAGES := $(sort $(wildcard */__init__.py))
RUNTIME_STAMP := $(VENV)/.runtime-$(call checksum,requirements.txt requirements.lock)
TEST_STAMP := $(VENV)/.test-$(call checksum,requirements.txt requirements-test.txt requirements.lock)
PROJECT_STAMP := $(VENV)/.project-$(shell (cat pyproject.toml; echo $(PACKAGES)) | cksum | cut -d ' ' -f 1)

# The embedded model needs no network; HF_HUB_OFFLINE=0 make demo lets a model be fetched from the Hub.
HF_HUB_OFFLINE ?= 1
OFFLINE := HF_HUB_OFFLINE=$(HF_HUB_OFFLINE) HF_HUB_DISABLE_TELEMETRY=1 GRADIO_ANALYTICS_ENABLED=False
# glibc returns every large buffer to the kernel unless these are set: CPU training steps are several times slower.
# Read when a process starts, so it cannot be set from Python.
TRAINING_ALLOCATOR := MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=1073741824

# Of a training on CPUs, of one thread each; 32 must be a multiple of it.
PROCESSES ?= 2

.DEFAULT_GOAL := setup
.PHONY: setup demo test test-fast test-oldest style update bench nano adapt-check

setup: $(RUNTIME_STAMP) $(PROJECT_STAMP)

demo: $(RUNTIME_STAMP)
	$(OFFLINE) GRADIO_SERVER_NAME=127.0.0.1 GRADIO_SERVER_PORT=7860 $(BIN)/python app.py

test: style
	@scripts/find_postgres.sh
	chromium=$$(scripts/find_chromium.sh) && \
	$(OFFLINE) CHROMIUM="$$chromium" $(BIN)/python -m pytest $(PYTEST_ARGS)

test-fast: style
	$(OFFLINE) GAZEVLM_NO_BROWSER=1 GAZEVLM_NO_POSTGRES=1 $(BIN)/python -m pytest $(PYTEST_ARGS) -m "not slow and not browser"

style: setup $(TEST_STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports --no-logo

# torch keeps its locked version: its older CPU builds are on PyTorch's own index alone.
test-oldest:
	rm -rf $(SPARE) && $(PYTHON) -m venv $(SPARE)
	sed -nE 's/^([A-Za-z0-9_.-]+)(\[.*\])?>=([0-9.]+),.*/\1==\3/p' requirements.txt requirements-test.txt \
	  | grep -v ^torch= > $(SPARE)/oldest.txt && grep ^torch= requirements.lock >> $(SPARE)/oldest.txt
	$(SPARE)/bin/python $(PIP) $(TESTS) -c $(SPARE)/oldest.txt
	$(OFFLINE) GAZEVLM_NO_BROWSER=1 GAZEVLM_NO_POSTGRES=1 $(SPARE)/bin/python -m pytest $(PYTEST_ARGS) -m "not slow and not browser"
	rm -rf $(SPARE)

# Local builds (torch's +cpu) and what only torch's CUDA build needs are left out: it pins those itself.
update:
	rm -rf $(SPARE) && $(PYTHON) -m venv $(SPARE)
	$(SPARE)/bin/python $(PIP) $(TESTS)
	sed -n '/^#/p' requirements.lock > $(SPARE)/lock
	$(SPARE)/bin/python -m pip freeze --all | sed -E 's/\+[a-z0-9.]+$$//' | grep -vE '^(cuda|nvidia|triton|pip=)' >> $(SPARE)/lock
	mv $(SPARE)/lock requirements.lock && rm -rf $(SPARE)

bench: setup
	$(OFFLINE) $(BIN)/python -m benchmarks.run

adapt-check: setup
	$(OFFLINE) $(TRAINING_ALLOCATOR) $(BIN)/python -m finetune.check

nano: setup
	$(OFFLINE) $(TRAINING_ALLOCATOR) OMP_NUM_THREADS=1 $(BIN)/torchrun --standalone --nproc-per-node $(PROCESSES) -m phantoms.nano $(if $(BASE),--base $(BASE)) $(if $(REAL),--real $(REAL)) $(if $(RECIPE),--recipe $(RECIPE))
	$(OFFLINE) $(BIN)/python -m diagnose.opening
	$(OFFLINE) $(BIN)/gazevlm evaluate --n 1000 --seed 4242 --faithfulness --reference runs/nano/release/final --json > runs/nano/scores.json
	for films in $(if $(REAL),nih kermany); do \
	  $(OFFLINE) $(BIN)/gazevlm evaluate --dataset $$films --root $(REAL)/$$films --split held-out --json > runs/nano/$$films.json || exit 1; done
	$(BIN)/python -m evaluate.card --results runs/nano/scores.json --recipe runs/nano/recipe.json --model models/gazevlm-nano \
	  $(if $(REAL),--films runs/nano/nih.json --films runs/nano/kermany.json)

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(RUNTIME_STAMP): | $(VENV)/pyvenv.cfg
	$(BIN)/python $(PIP) $(RUNTIME) $(LOCKED)
	@rm -f $(VENV)/.runtime-* && touch $@

$(TEST_STAMP): | $(RUNTIME_STAMP)
	$(BIN)/python $(PIP) $(TESTS) $(LOCKED)
	@rm -f $(VENV)/.test-* && touch $@

# Without dependencies, setuptools among them: they come from requirements.txt. The list of packages is part of the stamp's name,
# because an editable install maps the packages that exist when it is made.
$(PROJECT_STAMP): | $(RUNTIME_STAMP)
	$(BIN)/python $(PIP) --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.project-* && touch $@
