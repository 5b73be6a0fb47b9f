import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.training.machine.sharing import require_shared


def test_a_folder_that_a_machine_does_not_share_is_refused(tmp_path):
    (tmp_path / "recipe.yaml").touch()
    require_shared(tmp_path / "recipe.yaml", "--output", patience=0)
    with pytest.raises(UserError, match=r"nowhere/recipe\.yaml is not to be seen on .* an --output"):
        require_shared(tmp_path / "nowhere" / "recipe.yaml", "--output", patience=0)
