from model.settings import Settings, parse_duration
from model.settings_page import settings_page


def test_the_page_says_each_default_as_it_would_be_set() -> None:
    found = {}
    for line in settings_page().replace("\\|", "/").splitlines():
        cells = [cell.strip(" `") for cell in line.split("|")]
        if len(cells) > 1 and cells[3].startswith("duration"):
            found[cells[1].removeprefix("FRAUD_").lower()] = parse_duration(cells[2])
    assert len(found) > 3
    assert found == {name: Settings.model_fields[name].default for name in found}
