"""Lark's parse tree of one probe in, our syntax tree out: a method a rule of grammar/probe.lark."""

from collections.abc import Iterator

from lark import Token, Tree

from surftrace.lang import syntax
from surftrace.lang.source import CompileError, Diagnostic, Source, Span

# A chain longer than this is no chain of any kernel; the bound keeps hostile text from exhausting the stack.
MAX_NESTING = 64

_SOURCE_FILES = (".c", ".h", ".S", ".s", ".rs")


def build_probe(tree: Tree[Token], source: Source, text_start: int) -> syntax.Probe:
    """The probe of a parse tree whose positions count from `text_start`. CompileError for what nests too deep."""
    return _Builder(source, text_start).probe(tree)


def _number(text: str) -> int:
    """A C integer: octal after a leading zero. Digits that are not octal's are read as decimal ones."""
    is_octal = text[0] == "0" and set(text) <= set("01234567")
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text, 8 if is_octal else 10)


class _Builder:
    """The walk over one probe's parse tree; tokens and trees arrive in the rule's order."""

    def __init__(self, source: Source, text_start: int) -> None:
        self.source = source
        self.text_start = text_start

    def span(self, node: Tree[Token] | Token) -> Span:
        if isinstance(node, Token):
            start, end = node.start_pos, node.end_pos
        else:
            start, end = node.meta.start_pos, node.meta.end_pos
        assert start is not None
        assert end is not None
        return Span(self.text_start + start, self.text_start + end)

    def fail(self, span: Span, message: str, *hints: str) -> CompileError:
        return CompileError([Diagnostic(self.source, span, message, hints)])

    def probe(self, tree: Tree[Token]) -> syntax.Probe:
        kind_token, target, *rest = tree.children
        parts = [_tree(node) for node in rest if node is not None]
        filters = [part for part in parts if part.data == "filter"]
        return syntax.Probe(
            syntax.Kind(str(kind_token)),
            self.target(target),
            tuple(self.assignment(part) for part in parts if part.data == "assignment"),
            self.filter(_tree(filters[0].children[1]), 0) if filters else None,
            self.source,
            self.span(tree),
        )

    def target(self, node: Tree[Token] | Token) -> syntax.Target:
        span = self.span(node)
        if isinstance(node, Token):
            system, _, name = node.replace(":", "/").partition("/")
            return syntax.EventTarget(system, name, span)
        children = node.children
        match node.data:
            case "function":
                name = _token(children[0])
                return syntax.FunctionTarget("", str(name), _offset(children[2]), self.span(name), span)
            case "module_function":
                name = _token(children[2])
                return syntax.FunctionTarget(str(children[0]), str(name), _offset(children[4]), self.span(name), span)
            case "pattern":
                return syntax.PatternTarget(str(children[0] or ""), str(children[2]), span)
            case "line":
                return syntax.LineTarget(str(children[2]), _number(str(children[4])), span, str(children[0] or ""))
            case "place_address":
                if not str(children[0]).lower().startswith("0x"):
                    raise self.fail(
                        span, "a function's name does not begin with a digit", "an address is written 0x..."
                    )
                return syntax.AddressTarget(int(str(children[0]), 16), span)
            case "user_line":
                name = _unquoted(_token(children[2]))
                return syntax.UserTarget(str(children[0]), name, 0, span, _number(str(children[4])))
            case _:
                return syntax.UserTarget(str(children[0]), _unquoted(_token(children[2])), _offset(children[4]), span)

    def assignment(self, tree: Tree[Token]) -> syntax.Assignment:
        name, _, letter, value, _, fetch_type = tree.children
        expr = self.expr(_tree(value), 0)
        return syntax.Assignment(
            str(name) if name is not None else None,
            syntax.Format(str(letter)) if letter is not None else None,
            expr,
            syntax.FetchType(str(fetch_type), self.span(_token(fetch_type))) if fetch_type is not None else None,
            self.span(_token(name)) if name is not None else self.span(_tree(value)),
            self.span(tree),
        )

    def expr(self, tree: Tree[Token], depth: int) -> syntax.Expr:
        if depth > MAX_NESTING:
            raise self.fail(self.span(tree), f"nested more than {MAX_NESTING} deep")
        children, span, inner = tree.children, self.span(tree), depth + 1
        match tree.data:
            case "parens":
                return self.expr(_tree(children[1]), inner)
            case "member":
                return self.member(tree, inner)
            case "index" | "slice":
                return self.element(tree, inner)
            case "cast":
                return syntax.Cast(self.c_type(children[2]), self.expr(_tree(children[4]), inner), span)
            case "conversion":
                return syntax.Conversion(self.c_type(children[1]), self.expr(_tree(children[3]), inner), span)
            case "dereference":
                return syntax.Dereference(self.expr(_tree(children[1]), inner), span)
            case "address_of":
                return syntax.AddressOf(self.expr(_tree(children[1]), inner), span)
            case "packet":
                layer = str(children[4]) if children[4] is not None else "l3"
                return syntax.Packet(self.c_type(children[2]), layer, self.expr(_tree(children[5]), inner), span)
            case "container_of":
                return self.container_of(tree, inner)
            case _:
                return self.primary(tree)

    def member(self, tree: Tree[Token], depth: int) -> syntax.Member:
        operand, arrow, cast, name = tree.children
        return syntax.Member(
            self.expr(_tree(operand), depth),
            str(name),
            _token(arrow).type == "ARROW",
            self.c_type(_tree(cast).children[2]) if cast is not None else None,
            self.span(_token(arrow)),
            self.span(_token(name)),
            self.span(tree),
        )

    def element(self, tree: Tree[Token], depth: int) -> syntax.Index | syntax.Slice:
        operand = self.expr(_tree(tree.children[0]), depth)
        first = _token(tree.children[2])
        if tree.data == "index":
            return syntax.Index(operand, _number(first), self.span(first), self.span(tree))
        last = _token(tree.children[4])
        bounds = self.span(first).to(self.span(last))
        return syntax.Slice(operand, _number(first), _number(last), bounds, self.span(tree))

    def container_of(self, tree: Tree[Token], depth: int) -> syntax.ContainerOf:
        _, _, operand, _, c_type, _, *rest = tree.children
        names = [_token(node) for node in rest if isinstance(node, Token) and node.type == "NAME"]
        return syntax.ContainerOf(
            self.expr(_tree(operand), depth),
            self.c_type(c_type),
            tuple(map(str, names)),
            self.span(names[0]).to(self.span(names[-1])),
            self.span(tree),
        )

    def primary(self, tree: Tree[Token]) -> syntax.Expr:
        token, span = str(tree.children[0]), self.span(tree)
        match tree.data:
            case "argument":
                return syntax.Argument(int(token[1:]), span)
            case "register":
                return syntax.Register(token[1:], span)
            case "name":
                return syntax.Name(token, span)
            case "variable":
                return syntax.Variable(token, span)
            case "address":
                return syntax.Address(int(token[1:], 16), span)
            case _:
                _, sign, number = tree.children
                byte_offset = _number(str(number)) if number is not None else 0
                return syntax.Symbol(token[1:], -byte_offset if sign == "-" else byte_offset, span)

    def c_type(self, token: Tree[Token] | Token) -> syntax.CType:
        span = self.span(token)
        text = str(token).rstrip()
        return syntax.CType(text, Span(span.start, span.start + len(text)))

    def filter(self, tree: Tree[Token], depth: int) -> syntax.Filter:
        if depth > MAX_NESTING:
            raise self.fail(self.span(tree), f"nested more than {MAX_NESTING} deep")
        match tree.data:
            case "or" | "and":
                operands = tuple(self.filter(_tree(node), depth + 1) for node in tree.children[::2])
                return (syntax.Or if tree.data == "or" else syntax.And)(operands, self.span(tree))
            case "group":
                return self.filter(_tree(tree.children[1]), depth + 1)
            case "not":
                return syntax.Not(self.filter(next(_trees(tree)), depth + 1), self.span(tree))
            case _:
                return self.compare(tree, depth)

    def compare(self, tree: Tree[Token], depth: int) -> syntax.Compare:
        left, operator, literal = tree.children
        operator_token, literal_token = _token(_tree(operator).children[0]), _token(literal)
        is_quoted = literal_token.type == "STRING"
        if not is_quoted and "->" in literal_token:
            raise self.fail(
                self.span(literal_token),
                f"the right side of a comparison is a constant, not '{literal_token}'",
                "the value stands on the left; on the right a number, a name, an address or a string",
            )
        return syntax.Compare(
            self.expr(_tree(left), depth),
            syntax.Comparison(str(operator_token)),
            syntax.Literal(
                literal_token[1:-1] if is_quoted else str(literal_token),
                literal_token[0] if is_quoted else "",
                self.span(literal_token),
            ),
            self.span(operator_token),
            self.span(tree),
        )


def _offset(number: Tree[Token] | Token | None) -> int:
    return _number(str(number)) if number is not None else 0


def _trees(tree: Tree[Token]) -> Iterator[Tree[Token]]:
    return (node for node in tree.children if isinstance(node, Tree))


def _tree(node: Tree[Token] | Token) -> Tree[Token]:
    assert isinstance(node, Tree)
    return node


def _token(node: Tree[Token] | Token) -> Token:
    assert isinstance(node, Token)
    return node


def _unquoted(token: Token) -> str:
    return str(token)[1:-1] if token.type == "STRING" else str(token)
