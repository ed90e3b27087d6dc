PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin

.PHONY: check format lint types test fast

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
