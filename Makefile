# Thin front of make.py, which does the same where there is no make: `python make.py lab`.
# Another Python: make lab PYTHON=python3.12      Another torch build: make lab TORCH_INDEX=<address from PyTorch's selector>
PYTHON ?= python3
PROFILE ?= fast
NOTEBOOKS ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help lab run test lint kills mutants fuzz oldest bench site demo app zoo zoo-check repro install clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

lab: ## Open the course in JupyterLab (the first time also makes .venv with pinned packages)
	@$(PYTHON) make.py lab $(ARGS)

run: ## Execute the notebooks headlessly; PROFILE=fast|standard|full, NOTEBOOKS="00 03" for some of them
	@$(PYTHON) make.py run $(NOTEBOOKS) --profile $(PROFILE) $(ARGS)

test: ## Every test; ARGS="-k cost" or ARGS=tests/unit/test_files.py for some of them
	@$(PYTHON) make.py test $(ARGS)

lint: ## Style, types and layers (part of the tests too)
	@$(PYTHON) make.py lint

kills: ## Kill all long work at random moments, and do it by four processes at once (nightly, about 20 minutes)
	@$(PYTHON) make.py kills $(ARGS)

mutants: ## Mutation testing of exercises and core arithmetic (an hour or more); ARGS="dwt exercises" for some of it
	@$(PYTHON) make.py mutants $(ARGS)

fuzz: ## Damaged files and odd values, 10,000 for each reader; ARGS="pictures onnx --cases 500 --seed 7"
	@$(PYTHON) make.py fuzz $(ARGS)

oldest: ## The tests of the library with the oldest packages that pyproject.toml admits; ARGS="--torch 2.12.0" for another torch
	@$(PYTHON) make.py oldest $(ARGS)

bench: ## Side-by-side measurements behind benchmarks/README.md
	@$(PYTHON) make.py bench $(ARGS)

site: ## The course as web pages, in build/site
	@$(PYTHON) make.py site $(ARGS)

demo: ## The drawing pad as a web page that works offline, in build/demo
	@$(PYTHON) make.py demo $(ARGS)

app: ## The same, opened in your browser: draw, and two networks paint
	@$(PYTHON) make.py app $(ARGS)

zoo: ## Train the shipped weights again, going on where it was; ARGS=edges2shoes/teacher for one of them
	@$(PYTHON) make.py zoo $(ARGS)

zoo-check: ## Evaluate the shipped weights again and compare with their cards; ARGS=edges2shoes/teacher for one
	@$(PYTHON) make.py zoo-check $(ARGS)

repro: ## Every shipped result in short, done again and compared; ARGS="runs: flat2gloss" for some of them
	@$(PYTHON) make.py repro $(ARGS)

install: ## Only make .venv, or bring it up to date
	@$(PYTHON) make.py install

clean: ## Remove what can be made again in a minute; keeps .venv, trained runs and your predictions
	@$(PYTHON) make.py clean
