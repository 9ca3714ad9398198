.PHONY: check test

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
