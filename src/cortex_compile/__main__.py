"""``python -m cortex_compile`` is the ``cortex-compile`` command."""

from cortex_compile.cli.main import main

if __name__ == "__main__":
    main()
