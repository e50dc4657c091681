.DEFAULT_GOAL := help
.PHONY: help install demo test test-docker check fix bench chaos soak build

help:     ## this list
	@sed -n 's/^\([a-z-]*\): *[a-z]* *## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

install:  ## .venv with everything, and the embedded Triton server (PYTHON=python3.12 picks another Python)
	@scripts/install

demo: install  ## compile the sentence encoder, serve it, ask it by HTTP and gRPC, compare, show the speed-up
	@.venv/bin/python scripts/demo

test: install  ## every test that needs neither a GPU nor a container engine
	@scripts/test

test-docker: install  ## the tests that need a Docker engine; as root they start one of their own
	@scripts/test_docker --must

check: install  ## ruff, mypy, pyright
	@scripts/check

fix: install  ## let ruff repair what it can
	@scripts/fix

bench: install  ## our server beside its peers, on a machine that nobody else uses: docs/benchmarks.md
	@scripts/bench serving

chaos: install  ## break a running server in every way that we know, under load
	@scripts/chaos

soak: install  ## 20 minutes of mixed load and 100,000 fuzzed requests
	@scripts/soak

build: install  ## the wheel, in dist/
	@scripts/build
