"""The words of `config`."""

from dvlite.commands.config import ConfigResult, ConfigValue
from dvlite.show import Show
from dvlite.text.config import text


def said(result, show=None):
    return list(text(result, show or Show()))


def test_config():
    value = ConfigValue(key="core.autostage", value=True, source="default")
    limit = ConfigValue(key="hooks.push_limit", value=100 << 20, source="default")
    assert said(ConfigResult(action="get", values=(limit,))) == ["100MiB"]
    gone = ConfigValue(key="hooks.push_limit", value=None, source="f")
    assert said(ConfigResult(action="unset", values=(gone,), in_force=limit, config_path="f")) == [
        "Removed hooks.push_limit from f",
        "in force: 100MiB, the default",
    ]
    gone = ConfigValue(key="gc.keep_last", value=None, source="f")
    assert said(ConfigResult(action="unset", values=(gone,), config_path="f"))[1] == "gc.keep_last is not set any more"
    assert said(ConfigResult(action="get", values=(value,))) == ["true"]
    assert said(ConfigResult(action="list", values=(value,))) == ["core.autostage  true  default"]
    changed = ConfigResult(action="set", values=(value,), in_force=value, config_path=".dvlite/config.yaml")
    assert said(changed) == ["core.autostage = true  in .dvlite/config.yaml"]
