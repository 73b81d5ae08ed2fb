"""The messages that conditions see: those of the API, with R42's virtual fields.

Money has no number that CEL could compare. So the descriptors of the Event message are copied into a
pool of our own, and every message there that has a `total` gets two fields more:

    optional double amount    units and nanos as one number
    optional string currency  the currency code

They exist nowhere else, neither on the wire nor in the stubs. `optional`, so that `has(order.amount)`
asks whether the order has a total, not whether it costs something.

An int may be compared with a double, as in `order.amount > 100`: the checker of standard CEL takes that
for a slip, although the language says what it means. So its order operators are declared again, for
numbers of any two types. Equality cannot be; there the checker's error says how to write the number.

Decides: which variables a condition has, and of which types.
Never: what may be done with them; that is `control.cel_frontend`.
"""

from __future__ import annotations

from cel_expr_python import cel
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor

from afterword.v1 import event_pb2
from core.rules.fields import ROOTS

PACKAGE = "afterword.v1"
FIRST_VIRTUAL_NUMBER = 10_000
"""Above every field number of the API."""

_Field = descriptor_pb2.FieldDescriptorProto
VIRTUAL_FIELDS = (("amount", _Field.TYPE_DOUBLE), ("currency", _Field.TYPE_STRING))


def make_pool() -> descriptor_pool.DescriptorPool:
    """Return a pool with the Event message, all that it needs, and the virtual fields."""
    pool = descriptor_pool.DescriptorPool()
    _add(pool, event_pb2.DESCRIPTOR, set())
    return pool


def make_environment(pool: descriptor_pool.DescriptorPool) -> cel.Env:
    """Return the environment in which conditions are checked.

    Names are looked up in the package of the API too: `Review.Kind.KIND_PRODUCT`.
    """
    variables = {root: cel.Type(f"{PACKAGE}.{root.capitalize()}") for root in ROOTS}
    return environment_of(pool, variables, PACKAGE)


def environment_of(
    pool: descriptor_pool.DescriptorPool, variables: dict[str, cel.Type], package: str
) -> cel.Env:
    """Return an environment with the operators of conditions.

    Args:
        pool: the messages.
        variables: their names and types.
        package: where names are looked up too.
    """
    return cel.NewEnv(
        descriptor_pool=pool,
        config=cel.NewEnvConfigFromYaml(_WITHOUT_ORDER),
        variables=variables,
        container=package,
        functions=[cel.FunctionDecl(sign, _overloads(name)) for sign, name in _ORDER.items()],
    )


_ORDER = {"_<_": "less", "_<=_": "less_equals", "_>_": "greater", "_>=_": "greater_equals"}
_WITHOUT_ORDER = "stdlib:\n  exclude_functions:\n" + "".join(
    f'    - name: "{sign}"\n' for sign in _ORDER
)
_NUMBERS = {"int64": cel.Type.INT, "uint64": cel.Type.UINT, "double": cel.Type.DOUBLE}
_ORDERED = {
    **_NUMBERS,
    "bool": cel.Type.BOOL,
    "string": cel.Type.STRING,
    "bytes": cel.Type.BYTES,
    "timestamp": cel.Type.TIMESTAMP,
    "duration": cel.Type.DURATION,
}


def _overloads(name: str) -> list[cel.Overload]:
    """Return the overloads of an order operator: each type with itself, each number with each."""
    pairs = [(a, b) for a in _ORDERED for b in _ORDERED if a == b or {a, b} <= _NUMBERS.keys()]
    return [
        cel.Overload(
            f"{name}_{a}" if a == b else f"{name}_{a}_{b}",
            return_type=cel.Type.BOOL,
            parameters=[_ORDERED[a], _ORDERED[b]],
        )
        for a, b in pairs
    ]


def _add(pool: descriptor_pool.DescriptorPool, file: FileDescriptor, done: set[str]) -> None:
    if file.name in done:
        return
    done.add(file.name)
    for dependency in file.dependencies:
        _add(pool, dependency, done)
    copy = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(copy)
    if file.package == PACKAGE:
        for message in copy.message_type:
            if any(field.name == "total" for field in message.field):
                _add_virtual_fields(message)
    pool.AddSerializedFile(copy.SerializeToString())


def _add_virtual_fields(message: descriptor_pb2.DescriptorProto) -> None:
    for position, (name, kind) in enumerate(VIRTUAL_FIELDS):
        message.oneof_decl.add(name=f"_{name}")
        message.field.add(
            name=name,
            json_name=name,
            number=FIRST_VIRTUAL_NUMBER + position,
            label=_Field.LABEL_OPTIONAL,
            type=kind,
            proto3_optional=True,
            oneof_index=len(message.oneof_decl) - 1,
        )
