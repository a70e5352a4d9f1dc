# SPDX-License-Identifier: Apache-2.0
# Thin: Meson does the work. `make demo` and `make test` start from nothing; the rest expects `make deps`.
BUILD ?= build
JOBS ?= $(shell nproc)

.PHONY: all deps configure models demo test run bench fuzz check docs format install clean

all: configure
	@ninja -C "$(BUILD)" -j $(JOBS)

deps:
	@tools/deps.sh

configure:
	@tools/configure.sh "$(BUILD)" $(if $(PREFIX),"-Dprefix=$(PREFIX)")

# The models that DeepLens comes with, and OpenVINO that runs them (docs/MODELS.md).
models:
	@tools/models/make.sh

demo:
	@tools/deps.sh build demo $(if $(filter kafka,$(EVENTLOG)),test)
	@tools/models/make.sh
	@$(MAKE) --no-print-directory all
	@EVENTLOG="$(EVENTLOG)" tools/demo.sh "$(BUILD)"

test:
	@tools/deps.sh build test
	@tools/models/make.sh
	@tools/test.sh

run: all
	@"$(BUILD)/deeplens" serve

bench: all
	@bench/run.sh "$(BUILD)" $(BENCH)

fuzz:
	@tools/deps.sh build test
	@tools/fuzz.sh $(FUZZ)

check: all
	@tools/check.sh "$(BUILD)"

docs: all
	@tools/docs.sh "$(BUILD)"

format:
	@find src tests bench demo -name '*.[ch]' -exec clang-format -i {} +

# With PREFIX and DESTDIR as usual.
install: all
	@DESTDIR="$(DESTDIR)" meson install -C "$(BUILD)" --no-rebuild

clean:
	@rm -rf "$(BUILD)" build build-*
