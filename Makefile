.PHONY: annotation-tools check test

check:  ## what to run before a commit: linters, types, import directions, and the tests that take moments
	ruff check
	ruff format --check
	mypy
	lint-imports
	codespell elfs tests docs benchmarks README.md CHANGELOG.md CONTRIBUTING.md
	pytest -q -m "not slow" tests/ops tests/workspace tests/test_config.py tests/test_catalog.py tests/test_budget.py \
	  tests/cli/test_generated.py tests/cli/test_options.py

test:  ## everything, as CI does
	pytest

annotation-tools:  ## exports before the readers of the tools themselves, which hold numpy, pandas and Pillow back
	python3 -m venv .annotation-tools
	.annotation-tools/bin/pip install --quiet '.[test]' label-studio-sdk datumaro
	.annotation-tools/bin/pytest -n 1 tests/delivery/test_label_studio.py tests/delivery/test_cvat.py
