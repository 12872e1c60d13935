# Every target sets up what it needs; the only prerequisites are Python >= 3.11, git and make.
# as in uv.lock and deploy/Dockerfile
UV_VERSION := 0.13.8
UV ?= .venv/bin/uv
RUN := .venv/bin/
export UV_PYTHON_DOWNLOADS := never

.PHONY: setup demo test check bench fuzz generate chaos release audit clean

setup: .venv/.ready
	@# a start would compile a thousand modules again wherever nobody may write bytecode down
	@$(RUN)python -m compileall -q -x '/\.' .
.venv/.ready: pyproject.toml uv.lock Makefile
	@test -x $(UV) || (python3 -m venv .venv && .venv/bin/python -m pip install --quiet uv==$(UV_VERSION))
	$(UV) sync --frozen --inexact --quiet --compile-bytecode --python .venv/bin/python
	@touch $@

demo: setup
	$(RUN)holdfast demo --replace

test: setup
	$(RUN)pytest

check: setup
	$(RUN)ruff format --check .
	$(RUN)ruff check .
	$(RUN)mypy
	$(RUN)lint-imports
	$(RUN)python proto/generate.py --check

bench: setup
	$(RUN)holdfast bench e2e

chaos: setup
	$(RUN)holdfast chaos --mode embedded --kills 30

# a million bodies in process and 100,000 over the wire; the tests run a short share of both
fuzz: setup
	$(RUN)holdfast bench fuzz --minutes 120

generate: setup
	$(RUN)python proto/generate.py

release: setup
	$(RUN)python deploy/release.py dist $(UV)

audit: setup
	$(RUN)python deploy/audit.py $(UV)

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
