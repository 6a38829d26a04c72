# Every target makes .venv by itself. PYTHON chooses the Python that creates it.
PYTHON ?= python3

ifeq ($(OS),Windows_NT)
VENV_PYTHON = .venv/Scripts/python.exe
else
VENV_PYTHON = .venv/bin/python
endif

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check bench bench-safety faults lines set-up set-up-dev

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile

demo: ## train a small model of your own and chat with it (SERVE=0: no chat; ARGS="--help")
	@$(PYTHON) -m parrotlet.bootstrap --demo
	@$(VENV_PYTHON) -m parrotlet demo $(ARGS)

test: set-up-dev ## the tests, without the slow ones (ARGS="-k tokenizer")
	@OMP_NUM_THREADS=1 $(VENV_PYTHON) -m pytest -n 2 -m "not slow" $(ARGS)

test-all: set-up-dev ## all tests
	@OMP_NUM_THREADS=1 $(VENV_PYTHON) -m pytest -n 2 $(ARGS)

check: set-up-dev ## lint, format and types
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m ruff format --check .
	@$(VENV_PYTHON) -m mypy

bench-safety: set-up ## what the safety filters catch (ARGS="--data FOLDER")
	@$(VENV_PYTHON) bench/safety.py $(ARGS)

bench: set-up ## time to nanoGPT's own loss (ARGS="--nanogpt CHECKOUT --text input.txt")
	@$(VENV_PYTHON) bench/train.py $(ARGS)

faults: set-up-dev ## break training and the server in every way, at full counts (hours; ARGS="-k f1")
	@PARROTLET_FAULTS=full $(VENV_PYTHON) -m pytest --timeout 36000 tests/train/test_faults_training.py \
		tests/train/test_checkpoint.py tests/stages/test_ranks.py tests/serve/test_faults.py \
		tests/serve/test_fuzz.py tests/serve/test_soak.py -s $(ARGS)

lines: ## count the lines of code by layer
	@$(PYTHON) tests/lines.py

set-up:
	@$(PYTHON) -m parrotlet.bootstrap

set-up-dev:
	@$(PYTHON) -m parrotlet.bootstrap --extras dev
