"""The plugins that all tests share."""

pytest_plugins = [
    "tests.support.fixtures",
    "tests.support.cluster.fixtures",
    "tests.support.canary_plugin",
    "tests.support.traceback_plugin",
]
