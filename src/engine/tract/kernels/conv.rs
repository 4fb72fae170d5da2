//! Convolutions with few channels per group, over the last two axes (GTCRN, DeepFilterNet 3). As
//! matrix products they would be many tiny ones.

mod planes;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::{Conv, Deconv, KernelFormat, PaddingSpec, PoolSpec};
use tract_onnx::tract_core::ops::nn::DataFormat;

use super::dispatch::{WeightedKernel, add_scaled, run_weighted};
use super::kernel::{Kernel, impl_op_for_kernel};
use super::pointwise::Pointwise;
use super::shape::shape_of;
use crate::fast_math::add_product;

/// Maximum output channels of a group. More of them fill the tiles of tract's matrix products.
const MAX_CHANNELS: usize = 8;
/// Columns whose sums stay in registers.
const COLUMNS: usize = 32;
/// Maximum width of a row and of a kernel and maximum stride, for buffers on the stack.
const MAX_ROW: usize = 272;
const MAX_KERNEL: usize = 16;
const MAX_STRIDE: usize = 2;

/// A convolution over the last two axes of [1, channels, height, width], or its transpose.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct DirectConv {
    transposed: bool,
    groups: usize,
    /// channels, height, width
    input: [usize; 3],
    /// channels, height, width
    output: [usize; 3],
    output_shape: TVec<usize>,
    kernel: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    /// padding before the first row and column
    padding: [usize; 2],
    /// [output channels, input channels of a group, kernel height, kernel width]
    weights: Arc<Tensor>,
    /// [output channels] or one number
    bias: Arc<Tensor>,
}

/// Height and width of spatial axes. A missing height is `missing`.
fn height_width(axes: &[usize], missing: usize) -> Option<[usize; 2]> {
    match *axes {
        [w] => Some([missing, w]),
        [h, w] => Some([h, w]),
        _ => None,
    }
}

/// Weights and bias, if they are constant f32.
fn constants(model: &TypedModel, node: &TypedNode) -> TractResult<Option<[Arc<Tensor>; 2]>> {
    let constant = |at: usize| -> TractResult<Option<Arc<Tensor>>> {
        let fact = model.outlet_fact(node.inputs[at])?;
        let konst = fact.konst.clone();
        Ok(konst.filter(|t| t.datum_type() == f32::datum_type()))
    };
    Ok(match (constant(1)?, constant(2)?) {
        (Some(weights), Some(bias)) => Some([weights, bias]),
        _ => None,
    })
}

/// [channels, height, width] of `shape`, if it has channels first and no batch axis above 1.
fn sizes(spec: &PoolSpec, shape: &[usize]) -> Option<[usize; 3]> {
    let spatial = match spec.data_format {
        DataFormat::NCHW if shape[0] == 1 => &shape[1..],
        DataFormat::CHW => shape,
        _ => return None,
    };
    let [h, w] = height_width(&spatial[1..], 1)?;
    Some([spatial[0], h, w])
}

/// The kernel for a convolution with few channels per group.
pub(super) fn convolution(
    model: &TypedModel,
    node: &TypedNode,
    op: &Conv,
) -> TractResult<Option<DirectConv>> {
    let spec = &op.pool_spec;
    if op.q_params.is_some() || op.kernel_fmt != KernelFormat::OIHW {
        return Ok(None);
    }
    let few = spec.output_channels / op.group <= MAX_CHANNELS;
    let found = direct_conv(model, node, spec, op.group, false)?;
    Ok(found.filter(|op| few || op.has_planes()))
}

/// The kernel for a convolution of one column whose kernel is as high as its input: a product in groups.
pub(super) fn column(
    model: &TypedModel,
    node: &TypedNode,
    op: &Conv,
) -> TractResult<Option<Pointwise>> {
    let Some(conv) = convolution(model, node, op)? else {
        return Ok(None);
    };
    let ([channels_in, height_in, width_in], [channels, height, width]) = (conv.input, conv.output);
    let is_column = [height, width] == [1, width_in]
        && conv.kernel == [height_in, 1]
        && conv.dilations == [1, 1]
        && conv.strides == [1, 1]
        && conv.padding == [0, 0]
        // With one number for each output there is nothing to sum.
        && channels_in > conv.groups;
    if !is_column {
        return Ok(None);
    }
    let inputs = channels_in / conv.groups * height_in;
    let plain = (
        conv.weights.try_as_plain_ram()?,
        conv.bias.try_as_plain_ram()?,
    );
    let (weights, bias) = (plain.0.as_slice::<f32>()?, plain.1.as_slice::<f32>()?);
    let bias = if bias.len() == 1 {
        vec![bias[0]; channels]
    } else {
        bias.to_vec()
    };
    let outputs = channels / conv.groups;
    // [groups, outputs, inputs] -> [groups, inputs, outputs]
    let mut transposed = Vec::with_capacity(weights.len());
    for group in weights.chunks_exact(outputs * inputs) {
        for input in 0..inputs {
            transposed.extend(group.iter().skip(input).step_by(inputs));
        }
    }
    let sizes = [conv.groups, inputs, outputs, width];
    let axis = conv.output_shape.len() - 3;
    Pointwise::new(&transposed, &bias, sizes, conv.output_shape, axis).map(Some)
}

/// The kernel for a depthwise transposed convolution.
pub(super) fn deconvolution(
    model: &TypedModel,
    node: &TypedNode,
    op: &Deconv,
) -> TractResult<Option<DirectConv>> {
    let spec = &op.pool_spec;
    // Only depthwise ones: for these, all orders of the weights are the same.
    let is_depthwise = spec.output_channels == op.group && spec.input_channels == op.group;
    if op.kernel_format != KernelFormat::OIHW || !is_depthwise {
        return Ok(None);
    }
    direct_conv(model, node, spec, op.group, true)
}

/// The kernel for a convolution, if its sizes are supported and its weights are constant.
fn direct_conv(
    model: &TypedModel,
    node: &TypedNode,
    spec: &PoolSpec,
    group: usize,
    transposed: bool,
) -> TractResult<Option<DirectConv>> {
    let padding = match &spec.padding {
        PaddingSpec::Valid => height_width(&tvec![0; spec.kernel_shape.len()], 0),
        PaddingSpec::Explicit(before, _) => height_width(before, 0),
        _ => None,
    };
    let (Some([weights, bias]), Some(input), Some(output_shape)) = (
        constants(model, node)?,
        shape_of(model, node.inputs[0])?,
        shape_of(model, node.id.into())?,
    ) else {
        return Ok(None);
    };
    let (Some(input), Some(output), Some(padding), Some(kernel), Some(strides), Some(dilations)) = (
        sizes(spec, &input),
        sizes(spec, &output_shape),
        padding,
        height_width(&spec.kernel_shape, 1),
        height_width(&spec.strides(), 1),
        height_width(&spec.dilations(), 1),
    ) else {
        return Ok(None);
    };
    let is_supported = weights.len() == output[0] * input[0] / group * kernel[0] * kernel[1]
        && (bias.len() == output[0] || bias.len() == 1)
        && input[2].max(output[2]) <= MAX_ROW
        && kernel[0] > 0
        && (1..=MAX_KERNEL).contains(&kernel[1])
        && (1..=MAX_STRIDE).contains(&strides[1]);
    Ok(is_supported.then_some(DirectConv {
        transposed,
        groups: group,
        input,
        output,
        output_shape,
        kernel,
        strides,
        dilations,
        padding,
        weights,
        bias,
    }))
}

/// The numbers of a row, grouped by their phase within the stride.
type Phases = [[f32; MAX_ROW]; MAX_STRIDE];

/// The numbers of `row` at even and at odd places.
#[inline(always)]
fn split_phases(row: &[f32], even: &mut [f32], odd: &mut [f32]) {
    let (pairs, last) = row.as_chunks::<2>();
    let (even, rest) = even.split_at_mut(pairs.len());
    for (pair, (even, odd)) in pairs.iter().zip(even.iter_mut().zip(odd)) {
        [*even, *odd] = *pair;
    }
    rest[..last.len()].copy_from_slice(last);
}

/// Adds the numbers of `phases` to `row`, for a stride of 1 or 2.
#[inline(always)]
fn add_phases(stride: usize, [even, odd]: &Phases, row: &mut [f32]) {
    if stride == 1 {
        for (to, x) in row.iter_mut().zip(even) {
            *to += x;
        }
        return;
    }
    let (pairs, last) = row.as_chunks_mut::<2>();
    let done = pairs.len();
    for (pair, (even, odd)) in pairs.iter_mut().zip(even.iter().zip(odd)) {
        pair[0] += even;
        pair[1] += odd;
    }
    for to in last {
        *to += even[done];
    }
}

/// The columns that one column of the kernel connects: the outputs (inputs of a transposed
/// convolution) `first..end` with the columns `phase + stride * (from + n)` of the other side.
#[derive(Clone, Copy, Default)]
struct TapSpan {
    first: usize,
    end: usize,
    phase: usize,
    from: usize,
}

impl DirectConv {
    #[inline(always)]
    fn run<S: pulp::Simd>(&self, input: &[f32], weights: &[f32], bias: &[f32], output: &mut [f32]) {
        let [channels_in, height_in, width_in] = self.input;
        let [channels_out, height, width] = self.output;
        let (group_in, group_out) = (channels_in / self.groups, channels_out / self.groups);
        let taps = self.kernel[0] * self.kernel[1];
        let (few, many) = if self.transposed {
            (width_in, width)
        } else {
            (width, width_in)
        };
        let mut spans = [TapSpan::default(); MAX_KERNEL];
        for (tap, span) in spans[..self.kernel[1]].iter_mut().enumerate() {
            *span = self.tap_span(tap, few, many);
        }
        let spans = &spans[..self.kernel[1]];
        let mut phases = [[0.0f32; MAX_ROW]; MAX_STRIDE];
        let planes = output.chunks_exact_mut(height * width);
        let kernels = weights.chunks_exact(group_in * taps);
        for (at, (plane, kernel)) in planes.zip(kernels).enumerate() {
            plane.fill(if bias.len() == 1 { bias[0] } else { bias[at] });
            let first = at / group_out * group_in * height_in * width_in;
            let input = &input[first..][..group_in * height_in * width_in];
            if self.transposed {
                self.convolve_transposed::<S>(input, kernel, spans, &mut phases, plane);
            } else if self.kernel[1] == 1 && self.strides[1] == 1 && width == width_in {
                self.convolve_columns::<S>(input, kernel, plane);
            } else {
                self.convolve::<S>(input, kernel, spans, &mut phases, plane);
            }
        }
    }

    /// The input row for `row` of the output and row `tap` of the kernel. For a transposed
    /// convolution, the output row for `row` of the input.
    #[inline(always)]
    fn row(&self, row: usize, tap: usize, rows: usize) -> Option<usize> {
        let at = row * self.strides[0] + tap * self.dilations[0];
        at.checked_sub(self.padding[0]).filter(|at| *at < rows)
    }

    /// The span of column `tap` of the kernel. `few`: columns of the output, `many`: columns of the
    /// input; for a transposed convolution the other way round.
    fn tap_span(&self, tap: usize, few: usize, many: usize) -> TapSpan {
        let (stride, ahead) = (self.strides[1], tap * self.dilations[1]);
        let first = self.padding[1].saturating_sub(ahead).div_ceil(stride);
        let start = first * stride + ahead - self.padding[1];
        let end = if start < many {
            few.min(first + (many - 1 - start) / stride + 1)
        } else {
            first
        };
        TapSpan {
            first: first.min(end),
            end,
            phase: start % stride,
            from: start / stride,
        }
    }

    /// One output plane: the sum of shifted and scaled input rows.
    #[inline(always)]
    fn convolve<S: pulp::Simd>(
        &self,
        input: &[f32],
        kernel: &[f32],
        spans: &[TapSpan],
        phases: &mut Phases,
        plane: &mut [f32],
    ) {
        let [_, height_in, width_in] = self.input;
        let (width, stride) = (self.output[2], self.strides[1]);
        let planes = input.chunks_exact(height_in * width_in);
        for (channel, kernel) in planes.zip(kernel.chunks_exact(self.kernel[0] * self.kernel[1])) {
            for (tap, kernel) in kernel.chunks_exact(self.kernel[1]).enumerate() {
                for (row, out) in plane.chunks_exact_mut(width).enumerate() {
                    let Some(from) = self.row(row, tap, height_in) else {
                        continue;
                    };
                    let from = &channel[from * width_in..][..width_in];
                    if stride == 1 {
                        for (span, weight) in spans.iter().zip(kernel) {
                            add_scaled::<S>(
                                *weight,
                                &from[span.from..],
                                &mut out[span.first..span.end],
                            );
                        }
                        continue;
                    }
                    let [even, odd] = &mut *phases;
                    split_phases(from, even, odd);
                    for (span, weight) in spans.iter().zip(kernel) {
                        let from = &phases[span.phase][span.from..];
                        add_scaled::<S>(*weight, from, &mut out[span.first..span.end]);
                    }
                }
            }
        }
    }

    /// [`Self::convolve`] for kernels of one column and equal widths: the sums stay in registers.
    #[inline(always)]
    fn convolve_columns<S: pulp::Simd>(&self, input: &[f32], kernel: &[f32], plane: &mut [f32]) {
        // No closures: they are not compiled for the wider instruction sets.
        let [_, height_in, width] = self.input;
        for (row, out) in plane.chunks_exact_mut(width).enumerate() {
            let (blocks, rest) = out.as_chunks_mut::<COLUMNS>();
            let done = blocks.len() * COLUMNS;
            for (block, out) in blocks.iter_mut().enumerate() {
                let mut sums = *out;
                let planes = input.chunks_exact(height_in * width);
                for (channel, kernel) in planes.zip(kernel.chunks_exact(self.kernel[0])) {
                    for (tap, weight) in kernel.iter().enumerate() {
                        let Some(from) = self.row(row, tap, height_in) else {
                            continue;
                        };
                        let from = channel[from * width + block * COLUMNS..].first_chunk();
                        let from: &[f32; COLUMNS] = from.expect("a block inside the row");
                        for at in 0..COLUMNS {
                            sums[at] = add_product::<S>(sums[at], *weight, from[at]);
                        }
                    }
                }
                *out = sums;
            }
            if rest.is_empty() {
                continue;
            }
            let planes = input.chunks_exact(height_in * width);
            for (channel, kernel) in planes.zip(kernel.chunks_exact(self.kernel[0])) {
                for (tap, weight) in kernel.iter().enumerate() {
                    if let Some(from) = self.row(row, tap, height_in) {
                        add_scaled::<S>(*weight, &channel[from * width + done..], rest);
                    }
                }
            }
        }
    }

    /// One output plane of a transposed convolution: the sum of shifted and scaled kernels.
    #[inline(always)]
    fn convolve_transposed<S: pulp::Simd>(
        &self,
        input: &[f32],
        kernel: &[f32],
        spans: &[TapSpan],
        phases: &mut Phases,
        plane: &mut [f32],
    ) {
        let (width_in, stride) = (self.input[2], self.strides[1]);
        let [_, height, width] = self.output;
        for (row, from) in input.chunks_exact(width_in).enumerate() {
            for (tap, kernel) in kernel.chunks_exact(self.kernel[1]).enumerate() {
                let Some(to) = self.row(row, tap, height) else {
                    continue;
                };
                for phase in &mut phases[..stride] {
                    phase[..width.div_ceil(stride)].fill(0.0);
                }
                for (span, weight) in spans.iter().zip(kernel) {
                    let out = &mut phases[span.phase][span.from..];
                    add_scaled::<S>(*weight, &from[span.first..span.end], out);
                }
                let out = &mut plane[to * width..][..width];
                add_phases(stride, phases, out);
            }
        }
    }
}

impl pulp::WithSimd for WeightedKernel<'_, DirectConv> {
    type Output = TractResult<()>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) -> TractResult<()> {
        let (op, bias) = (self.op, self.op.bias.try_as_plain_ram()?);
        let (weights, bias) = (self.weights, bias.as_slice()?);
        if op.has_planes() {
            op.run_planes(simd, self.input, weights, bias, self.output);
        } else {
            op.run::<S>(self.input, weights, bias, self.output);
        }
        Ok(())
    }
}

impl_op_for_kernel!(DirectConv);

impl Kernel for DirectConv {
    fn name(&self) -> &'static str {
        if self.transposed {
            "DirectDeconv"
        } else {
            "DirectConv"
        }
    }

    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        run_weighted(self, &self.output_shape, &inputs[0], &self.weights)
    }

    fn output_facts(&self, _: &[&TypedFact]) -> TVec<TypedFact> {
        tvec![f32::fact(&self.output_shape)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{difference, noise};
    use super::*;

    /// A convolution: [input channels, output channels, groups], and [height, width] of input, kernel,
    /// strides, dilations and padding on each side.
    type Case = (
        [usize; 3],
        [usize; 2],
        [usize; 2],
        [usize; 2],
        [usize; 2],
        [usize; 2],
    );

    fn run_case(case: Case, transposed: bool) -> (f32, Vec<String>) {
        let ([channels, outputs, group], size, kernel, strides, dilations, pads) = case;
        let mut seed = 7;
        let mut model = TypedModel::default();
        let shape = [1, channels, size[0], size[1]];
        let x = model.add_source("x", f32::fact(shape)).unwrap();
        let weights = [outputs, channels / group, kernel[0], kernel[1]];
        let weights = model.add_const("k", noise(&mut seed, &weights)).unwrap();
        let bias = model.add_const("b", noise(&mut seed, &[outputs])).unwrap();
        let pads = TVec::from_slice(&pads);
        let pool_spec = PoolSpec {
            data_format: DataFormat::NCHW,
            kernel_shape: TVec::from_slice(&kernel),
            padding: PaddingSpec::Explicit(pads.clone(), pads),
            dilations: Some(TVec::from_slice(&dilations)),
            strides: Some(TVec::from_slice(&strides)),
            input_channels: channels,
            output_channels: outputs,
        };
        let op: Box<dyn TypedOp> = if transposed {
            Box::new(Deconv::new(
                pool_spec,
                KernelFormat::OIHW,
                tvec![0, 0],
                group,
            ))
        } else {
            Box::new(Conv {
                pool_spec,
                kernel_fmt: KernelFormat::OIHW,
                group,
                q_params: None,
            })
        };
        let out = model.wire_node("conv", op, &[x, weights, bias]).unwrap();
        model.select_output_outlets(&out).unwrap();
        difference(model, noise(&mut seed, &shape))
    }

    #[test]
    fn convolutions_equal_those_of_tract() {
        let one = [1, 1];
        for case in [
            ([6, 6, 6], [1, 32], [1, 3], [1, 2], one, [0, 1]),
            ([6, 6, 6], [1, 9], [1, 3], one, one, [0, 1]),
            ([6, 6, 6], [1, 9], [1, 1], one, one, [0, 0]),
            ([6, 6, 6], [5, 33], [3, 3], one, [2, 1], [0, 1]),
            ([6, 6, 6], [7, 33], [3, 5], [2, 2], [1, 2], [2, 3]),
            ([8, 2, 1], [6, 45], [3, 1], one, one, [2, 0]),
            ([8, 1, 1], [1, 32], [1, 3], one, one, [0, 1]),
            ([1, 64, 1], [3, 32], [3, 3], one, one, [0, 1]),
            ([2, 64, 2], [1, 96], [3, 3], one, one, [1, 0]),
            ([6, 6, 6], [3, 33], [2, 3], one, [1, 4], [0, 4]),
            ([64, 64, 64], [1, 96], [1, 3], [1, 2], one, [0, 1]),
            ([4, 8, 4], [3, 31], [3, 5], [1, 2], one, [1, 2]),
            ([4, 8, 4], [3, 32], [3, 4], [1, 2], [1, 3], [1, 3]),
            ([6, 6, 6], [2, 240], [2, 3], one, [1, 1], [0, 8]),
            ([6, 6, 6], [2, 262], [2, 3], one, [1, 20], [0, 20]),
        ] {
            let (difference, names) = run_case(case, false);
            assert!(difference < 2e-5, "{case:?}: {difference}");
            assert_eq!(names, ["DirectConv"], "{case:?}");
        }
        for case in [
            ([64, 10, 2], [5, 96], [5, 1], one, one, [0, 0]),
            ([6, 2, 1], [3, 21], [3, 1], one, one, [0, 0]),
        ] {
            let (difference, names) = run_case(case, false);
            assert!(difference < 2e-5, "{case:?}: {difference}");
            assert_eq!(names, ["Pointwise"], "{case:?}");
        }
        for case in [
            ([6, 6, 6], [1, 16], [1, 3], [1, 2], one, [0, 1]),
            ([6, 6, 6], [1, 16], [1, 5], one, one, [0, 2]),
            ([6, 6, 6], [3, 17], [3, 5], [1, 2], one, [1, 2]),
        ] {
            let (difference, names) = run_case(case, true);
            assert!(difference < 2e-5, "transposed {case:?}: {difference}");
            assert_eq!(names, ["DirectDeconv"], "{case:?}");
        }
    }
}
