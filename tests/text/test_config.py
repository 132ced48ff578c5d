"""The words of `config`."""

from dvlite.commands.config import ConfigResult, ConfigValue
from dvlite.show import Show
from dvlite.text.config import text


def said(result, show=None):
    return list(text(result, show or Show()))


def test_config():
    value = ConfigValue(key="core.autostage", value=True, source="default")
    assert said(ConfigResult(action="get", values=(value,))) == ["true"]
    assert said(ConfigResult(action="list", values=(value,))) == ["core.autostage  true  default"]
    assert said(ConfigResult(action="set", values=(value,), config_path=".dvlite/config.yaml")) == [
        "core.autostage = true  in .dvlite/config.yaml"
    ]
