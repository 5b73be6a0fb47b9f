import ast
from pathlib import Path

import ser_meta.modeling_ser_meta as public


def test_a_type_checker_sees_every_public_class_where_it_is():
    (guarded,) = (node for node in ast.parse(Path(public.__file__).read_text()).body if isinstance(node, ast.If))
    assert guarded.test.id == "TYPE_CHECKING"
    # `as` the same name: a checker takes it for one that the package gives away
    seen = {(name.name, name.asname, node.module) for node in guarded.body for name in node.names}
    assert seen == {(name, name, module) for name, module in public._MODULES.items()}
