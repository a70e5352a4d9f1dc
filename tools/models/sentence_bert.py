# SPDX-License-Identifier: Apache-2.0
"""A sentence encoder of BERT's kind as an ONNX graph: token ids in (0 fills up short ones), the mean of the last layer over
the tokens out, in one graph (Devlin et al. 2018; Reimers & Gurevych 2019).
"""
import numpy
from onnx import TensorProto, checker, helper, numpy_helper

HEADS = 12
EPSILON = 1e-12
NEVER = -1e9  # what a token that is not there weighs, before the softmax


class Graph:
    """Collects nodes and constants; each node's output carries the node's name."""

    def __init__(self, weights: dict):
        self.weights, self.nodes, self.initializers, self.known = weights, [], [], set()

    def constant(self, name: str, array) -> str:
        if name not in self.known:
            self.known.add(name)
            self.initializers.append(numpy_helper.from_array(numpy.ascontiguousarray(array), name))
        return name

    def weight(self, name: str, transposed: bool = False) -> str:
        return self.constant(name, self.weights[name].T if transposed else self.weights[name])

    def number(self, value: float) -> str:
        return self.constant("number_%r" % value, numpy.float32(value))

    def whole(self, *values) -> str:
        return self.constant("whole_" + "_".join(map(str, values)), numpy.array(values, numpy.int64))

    def node(self, kind: str, inputs: list, name: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def dense(self, x: str, layer: str) -> str:
        y = self.node("MatMul", [x, self.weight(layer + ".weight", True)], layer + ".product")
        return self.node("Add", [y, self.weight(layer + ".bias")], layer)

    def norm(self, x: str, layer: str) -> str:
        return self.node("LayerNormalization", [x, self.weight(layer + ".weight"), self.weight(layer + ".bias")], layer,
                         axis=-1, epsilon=EPSILON)

    def heads(self, x: str, order: list) -> str:
        width = self.weights["embeddings.LayerNorm.bias"].shape[0]
        split = self.node("Reshape", [x, self.whole(0, 0, HEADS, width // HEADS)], x + ".split")
        return self.node("Transpose", [split], x + ".heads", perm=order)

    def attention(self, x: str, name: str, hidden: str) -> str:
        width = self.weights["embeddings.LayerNorm.bias"].shape[0]
        q = self.heads(self.dense(x, name + ".self.query"), [0, 2, 1, 3])
        k = self.heads(self.dense(x, name + ".self.key"), [0, 2, 3, 1])
        v = self.heads(self.dense(x, name + ".self.value"), [0, 2, 1, 3])
        scores = self.node("MatMul", [q, k], name + ".raw")
        scores = self.node("Mul", [scores, self.number((width // HEADS) ** -0.5)], name + ".scaled")
        scores = self.node("Softmax", [self.node("Add", [scores, hidden], name + ".masked")], name + ".shares", axis=-1)
        mixed = self.node("Transpose", [self.node("MatMul", [scores, v], name + ".mixed")], name + ".back", perm=[0, 2, 1, 3])
        mixed = self.node("Reshape", [mixed, self.whole(0, 0, width)], name + ".joined")
        return self.norm(self.node("Add", [self.dense(mixed, name + ".output.dense"), x], name + ".sum"), name + ".output.LayerNorm")

    def gelu(self, x: str) -> str:
        bent = self.node("Erf", [self.node("Mul", [x, self.number(2 ** -0.5)], x + ".root")], x + ".erf")
        bent = self.node("Add", [bent, self.number(1.0)], x + ".erf1")
        return self.node("Mul", [self.node("Mul", [x, bent], x + ".twice"), self.number(0.5)], x + ".gelu")

    def layer(self, x: str, index: int, hidden: str) -> str:
        name = "encoder.layer.%d" % index
        x = self.attention(x, name + ".attention", hidden)
        wide = self.gelu(self.dense(x, name + ".intermediate.dense"))
        return self.norm(self.node("Add", [self.dense(wide, name + ".output.dense"), x], name + ".sum"), name + ".output.LayerNorm")


def build(weights: dict):
    """The model, checked; the same bytes for the same weights."""
    g = Graph(weights)
    there = g.node("Cast", [g.node("Not", [g.node("Equal", ["ids", g.whole(0)], "is_filling")], "is_token")], "there",
                   to=TensorProto.FLOAT)
    missing = g.node("Mul", [g.node("Sub", [there, g.number(1.0)], "less"), g.number(-NEVER)], "missing")
    hidden = g.node("Unsqueeze", [missing, g.whole(1, 2)], "hidden")
    length = g.node("Slice", [g.node("Shape", ["ids"], "shape"), g.whole(1), g.whole(2)], "length")
    places = g.node("Slice", [g.weight("embeddings.position_embeddings.weight"), g.whole(0), length, g.whole(0)], "places")
    words = g.node("Gather", [g.weight("embeddings.word_embeddings.weight"), "ids"], "words")
    first = g.constant("first_type", weights["embeddings.token_type_embeddings.weight"][0])
    x = g.node("Add", [g.node("Add", [words, places], "placed"), first], "typed")
    x = g.norm(x, "embeddings.LayerNorm")
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
    for index in range(layers):
        x = g.layer(x, index, hidden)
    shown = g.node("Unsqueeze", [there, g.whole(2)], "shown")
    total = g.node("ReduceSum", [g.node("Mul", [x, shown], "kept"), g.whole(1)], "total", keepdims=0)
    count = g.node("Max", [g.node("ReduceSum", [there, g.whole(1)], "tokens", keepdims=1), g.number(1.0)], "count")
    g.node("Div", [total, count], "embedding")
    width = weights["embeddings.LayerNorm.bias"].shape[0]
    graph = helper.make_graph(g.nodes, "sentence-bert", [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])],
                              [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", width])], g.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="deeplens")
    checker.check_model(model, full_check=True)
    return model
