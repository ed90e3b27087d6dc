PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin

KODAK ?= kodak

.PHONY: check format lint types test fast bench results

check: lint types test

format:
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

lint:
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .

types:
	$(RUN)/mypy

test:
	$(RUN)/python -m pytest

fast:
	$(RUN)/python -m pytest -m "not slow"

# Measure what is not measured yet; KODAK is the folder of the 24 pictures.
bench:
	$(RUN)/ncc bench $(KODAK) -o docs/results/kodak --resume --pictures 0 \
		--published docs/results/peers/kodak.tsv

# README's table, from docs/results.
results:
	$(RUN)/python tools/make_results.py
