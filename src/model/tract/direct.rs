//! Operations that the engine's matrix products fit badly, computed directly.
//!
//! With one hop a step, convolutions with few channels a group and linear layers in groups are
//! many tiny products; packing and dispatching each costs more than the arithmetic.

mod gru;
mod linear;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::{Conv, Deconv, KernelFormat, PaddingSpec, PoolSpec};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::gru_seq::GruSeq;
use tract_onnx::tract_core::ops::nn::DataFormat;

use linear::Linear16;

/// Output channels of a group up to which a convolution is computed directly; more of them fill
/// the engine's tiles well enough.
const MOST_CHANNELS: usize = 8;
/// Columns of a convolution whose sums stay in registers.
const COLUMNS: usize = 32;
/// Rows, kernels and strides of what is computed directly fit these, for buffers on the stack.
const WIDEST_ROW: usize = 272;
const WIDEST_KERNEL: usize = 16;
const MOST_STRIDE: usize = 2;
/// Outputs of a group whose sums stay in registers.
const LANES: usize = 16;

/// Replaces what is faster computed directly. Shapes must be known.
pub(super) fn replace(mut model: TypedModel) -> TractResult<TypedModel> {
    for id in model.eval_order()? {
        let node = model.node(id);
        let direct: Option<Box<dyn TypedOp>> = if let Some(op) = node.op_as::<Conv>() {
            convolution(&model, node, op)?.map(|op| Box::new(op) as _)
        } else if let Some(op) = node.op_as::<Deconv>() {
            deconvolution(&model, node, op)?.map(|op| Box::new(op) as _)
        } else if let Some(op) = node.op_as::<EinSum>() {
            linear(&model, node, op)?
        } else {
            None
        };
        if let Some(op) = node.op_as::<GruSeq>()
            && let Some(op) = gru::small(&model, node, op)?
        {
            let kept = [node.inputs[0], *node.inputs.last().context("h0")?];
            TypedModelPatch::replace_single_op(&model, node, &kept, op)?.apply(&mut model)?;
            continue;
        }
        if let Some(op) = direct {
            // The weights are in the operation now.
            let input = node.inputs[0];
            TypedModelPatch::replace_single_op(&model, node, &[input], op)?.apply(&mut model)?;
        }
    }
    Ok(model)
}

/// A convolution over the last two axes of [1, channels, height, width], or its transpose.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
struct DirectConv {
    transposed: bool,
    group: usize,
    /// channels, height, width
    input: [usize; 3],
    /// channels, height, width
    output: [usize; 3],
    output_shape: TVec<usize>,
    kernel: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    /// zeros before the first row and column
    before: [usize; 2],
    /// [channels out, channels in of a group, kernel]
    weights: Arc<Tensor>,
    /// [channels out] or one number
    bias: Arc<Tensor>,
}

/// Height and width of spatial axes; one of them may be missing.
fn two(axes: &[usize], missing: usize) -> Option<[usize; 2]> {
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

/// [channels, height, width] of a shape with one batch at most, channels first.
fn sizes(spec: &PoolSpec, shape: &[usize]) -> Option<[usize; 3]> {
    let spatial = match spec.data_format {
        DataFormat::NCHW if shape[0] == 1 => &shape[1..],
        DataFormat::CHW => shape,
        _ => return None,
    };
    let [h, w] = two(&spatial[1..], 1)?;
    Some([spatial[0], h, w])
}

fn shape_of(model: &TypedModel, outlet: OutletId) -> TractResult<Option<TVec<usize>>> {
    let fact = model.outlet_fact(outlet)?;
    let known = fact.shape.as_concrete().map(TVec::from_slice);
    Ok(known.filter(|_| fact.datum_type == f32::datum_type()))
}

fn convolution(model: &TypedModel, node: &TypedNode, op: &Conv) -> TractResult<Option<DirectConv>> {
    let spec = &op.pool_spec;
    let few = spec.output_channels / op.group <= MOST_CHANNELS;
    if op.q_params.is_some() || op.kernel_fmt != KernelFormat::OIHW || !few {
        return Ok(None);
    }
    let before = match &spec.padding {
        PaddingSpec::Valid => two(&tvec![0; spec.kernel_shape.len()], 0),
        PaddingSpec::Explicit(before, _) => two(before, 0),
        _ => None,
    };
    direct(model, node, spec, op.group, before, false)
}

fn deconvolution(
    model: &TypedModel,
    node: &TypedNode,
    op: &Deconv,
) -> TractResult<Option<DirectConv>> {
    let spec = &op.pool_spec;
    // Channel by channel alone: there the orders of weights that are in use agree.
    let one = spec.output_channels == op.group && spec.input_channels == op.group;
    if op.kernel_format != KernelFormat::OIHW || !one {
        return Ok(None);
    }
    let before = match &spec.padding {
        PaddingSpec::Valid => two(&tvec![0; spec.kernel_shape.len()], 0),
        PaddingSpec::Explicit(before, _) => two(before, 0),
        _ => None,
    };
    direct(model, node, spec, op.group, before, true)
}

fn direct(
    model: &TypedModel,
    node: &TypedNode,
    spec: &PoolSpec,
    group: usize,
    before: Option<[usize; 2]>,
    transposed: bool,
) -> TractResult<Option<DirectConv>> {
    let (Some([weights, bias]), Some(input), Some(output_shape)) = (
        constants(model, node)?,
        shape_of(model, node.inputs[0])?,
        shape_of(model, node.id.into())?,
    ) else {
        return Ok(None);
    };
    let (Some(input), Some(output), Some(before), Some(kernel), Some(strides), Some(dilations)) = (
        sizes(spec, &input),
        sizes(spec, &output_shape),
        before,
        two(&spec.kernel_shape, 1),
        two(&spec.strides(), 1),
        two(&spec.dilations(), 1),
    ) else {
        return Ok(None);
    };
    let right = weights.len() == output[0] * input[0] / group * kernel[0] * kernel[1]
        && (bias.len() == output[0] || bias.len() == 1)
        && input[2].max(output[2]) <= WIDEST_ROW
        && kernel[1] <= WIDEST_KERNEL
        && (1..=MOST_STRIDE).contains(&strides[1]);
    Ok(right.then_some(DirectConv {
        transposed,
        group,
        input,
        output,
        output_shape,
        kernel,
        strides,
        dilations,
        before,
        weights,
        bias,
    }))
}

/// A row's numbers, those of each phase of the stride together.
type Phases = [[f32; WIDEST_ROW]; MOST_STRIDE];

/// Where a column of the kernel meets a row: outputs (inputs of a transpose) `first..end` meet what
/// lies at `phase`, `phase + stride`, ... of the other side, from the `from`th of those on.
#[derive(Clone, Copy, Default)]
struct Meeting {
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
        let (of_group, into) = (channels_in / self.group, channels_out / self.group);
        let taps = self.kernel[0] * self.kernel[1];
        let (few, many) = if self.transposed {
            (width_in, width)
        } else {
            (width, width_in)
        };
        let mut meetings = [Meeting::default(); WIDEST_KERNEL];
        for (tap, meeting) in meetings[..self.kernel[1]].iter_mut().enumerate() {
            *meeting = self.meeting(tap, few, many);
        }
        let meetings = &meetings[..self.kernel[1]];
        let mut phases = [[0.0f32; WIDEST_ROW]; MOST_STRIDE];
        let planes = output.chunks_exact_mut(height * width);
        let kernels = weights.chunks_exact(of_group * taps);
        for (at, (plane, kernel)) in planes.zip(kernels).enumerate() {
            plane.fill(if bias.len() == 1 { bias[0] } else { bias[at] });
            let first = at / into * of_group * height_in * width_in;
            let heard = &input[first..][..of_group * height_in * width_in];
            if self.transposed {
                self.spread::<S>(heard, kernel, meetings, &mut phases, plane);
            } else if self.kernel[1] == 1 && self.strides[1] == 1 && width == width_in {
                self.gather_columns::<S>(heard, kernel, plane);
            } else {
                self.gather::<S>(heard, kernel, meetings, &mut phases, plane);
            }
        }
    }

    /// Row of the input for a row of the output and of the kernel, or the other way round.
    #[inline(always)]
    fn row(&self, row: usize, tap: usize, rows: usize) -> Option<usize> {
        let at = row * self.strides[0] + tap * self.dilations[0];
        at.checked_sub(self.before[0]).filter(|at| *at < rows)
    }

    /// `few` positions, each `stride` of the `many` apart.
    fn meeting(&self, tap: usize, few: usize, many: usize) -> Meeting {
        let (stride, ahead) = (self.strides[1], tap * self.dilations[1]);
        let first = self.before[1].saturating_sub(ahead).div_ceil(stride);
        let start = first * stride + ahead - self.before[1];
        let end = if start < many {
            few.min(first + (many - 1 - start) / stride + 1)
        } else {
            first
        };
        Meeting {
            first: first.min(end),
            end,
            phase: start % stride,
            from: start / stride,
        }
    }

    /// One output plane: sums over shifted rows of the input.
    #[inline(always)]
    fn gather<S: pulp::Simd>(
        &self,
        input: &[f32],
        kernel: &[f32],
        meetings: &[Meeting],
        phases: &mut Phases,
        plane: &mut [f32],
    ) {
        let [_, height_in, width_in] = self.input;
        let (width, stride) = (self.output[2], self.strides[1]);
        let planes = input.chunks_exact(height_in * width_in);
        for (heard, kernel) in planes.zip(kernel.chunks_exact(self.kernel[0] * self.kernel[1])) {
            for (tap, kernel) in kernel.chunks_exact(self.kernel[1]).enumerate() {
                for (row, out) in plane.chunks_exact_mut(width).enumerate() {
                    let Some(from) = self.row(row, tap, height_in) else {
                        continue;
                    };
                    let from = &heard[from * width_in..][..width_in];
                    if stride == 1 {
                        for (meeting, weight) in meetings.iter().zip(kernel) {
                            add_scaled::<S>(
                                *weight,
                                &from[meeting.from..],
                                &mut out[meeting.first..meeting.end],
                            );
                        }
                        continue;
                    }
                    for (phase, to) in phases[..stride].iter_mut().enumerate() {
                        for (to, x) in to.iter_mut().zip(from[phase..].iter().step_by(stride)) {
                            *to = *x;
                        }
                    }
                    for (meeting, weight) in meetings.iter().zip(kernel) {
                        let from = &phases[meeting.phase][meeting.from..];
                        add_scaled::<S>(*weight, from, &mut out[meeting.first..meeting.end]);
                    }
                }
            }
        }
    }

    /// The same for kernels of one column over rows of one width: sums stay in registers.
    #[inline(always)]
    fn gather_columns<S: pulp::Simd>(&self, input: &[f32], kernel: &[f32], plane: &mut [f32]) {
        // No closures: what they do is compiled for the narrowest registers.
        let [_, height_in, width] = self.input;
        for (row, out) in plane.chunks_exact_mut(width).enumerate() {
            let (blocks, rest) = out.as_chunks_mut::<COLUMNS>();
            let known = blocks.len() * COLUMNS;
            for (block, out) in blocks.iter_mut().enumerate() {
                let mut sums = *out;
                let planes = input.chunks_exact(height_in * width);
                for (heard, kernel) in planes.zip(kernel.chunks_exact(self.kernel[0])) {
                    for (tap, weight) in kernel.iter().enumerate() {
                        let Some(from) = self.row(row, tap, height_in) else {
                            continue;
                        };
                        let from = heard[from * width + block * COLUMNS..].first_chunk();
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
            for (heard, kernel) in planes.zip(kernel.chunks_exact(self.kernel[0])) {
                for (tap, weight) in kernel.iter().enumerate() {
                    if let Some(from) = self.row(row, tap, height_in) {
                        add_scaled::<S>(*weight, &heard[from * width + known..], rest);
                    }
                }
            }
        }
    }

    /// One output plane of the transpose: each input number spreads over the kernel.
    #[inline(always)]
    fn spread<S: pulp::Simd>(
        &self,
        input: &[f32],
        kernel: &[f32],
        meetings: &[Meeting],
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
                for (meeting, weight) in meetings.iter().zip(kernel) {
                    let out = &mut phases[meeting.phase][meeting.from..];
                    add_scaled::<S>(*weight, &from[meeting.first..meeting.end], out);
                }
                let out = &mut plane[to * width..][..width];
                for (phase, from) in phases[..stride].iter().enumerate() {
                    for (out, x) in out[phase..].iter_mut().step_by(stride).zip(from) {
                        *out += x;
                    }
                }
            }
        }
    }
}

/// Something to run in code for the widest registers of the computer: `pulp` compiles what is
/// inlined here for each kind.
struct Wide<'a, T> {
    op: &'a T,
    input: &'a [f32],
    weights: &'a [f32],
    output: &'a mut [f32],
}

impl pulp::WithSimd for Wide<'_, DirectConv> {
    type Output = TractResult<()>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> TractResult<()> {
        let bias = self.op.bias.try_as_plain_ram()?;
        self.op
            .run::<S>(self.input, self.weights, bias.as_slice()?, self.output);
        Ok(())
    }
}

impl pulp::WithSimd for Wide<'_, GroupedLinear> {
    type Output = TractResult<()>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> TractResult<()> {
        self.op.run::<S>(self.input, self.weights, self.output);
        Ok(())
    }
}

/// Makes an output of `shape` by `op`.
fn run_wide<T>(
    op: &T,
    shape: &[usize],
    input: &TValue,
    weights: &Tensor,
) -> TractResult<TVec<TValue>>
where
    for<'a> Wide<'a, T>: pulp::WithSimd<Output = TractResult<()>>,
{
    let mut output = Tensor::zero::<f32>(shape)?;
    let (input, weights) = (input.try_as_plain_ram()?, weights.try_as_plain_ram()?);
    pulp::Arch::new().dispatch(Wide {
        op,
        input: input.as_slice()?,
        weights: weights.as_slice()?,
        output: output.try_as_plain_ram_mut()?.as_slice_mut()?,
    })?;
    Ok(tvec![output.into_tvalue()])
}

/// `sum + a * b`, in one instruction where the registers of `S` have it.
#[inline(always)]
fn add_product<S: pulp::Simd>(sum: f32, a: f32, b: f32) -> f32 {
    // Elsewhere a fused product is a call into the C library.
    let fused = cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) && !S::IS_SCALAR;
    if fused {
        a.mul_add(b, sum)
    } else {
        sum + a * b
    }
}

/// Adds `scale` times `from` to `to`, as far as both go.
#[inline(always)]
fn add_scaled<S: pulp::Simd>(scale: f32, from: &[f32], to: &mut [f32]) {
    let len = from.len().min(to.len());
    let (from, to) = (&from[..len], &mut to[..len]);
    for at in 0..len {
        to[at] = add_product::<S>(to[at], scale, from[at]);
    }
}

impl Op for DirectConv {
    fn name(&self) -> StaticName {
        if self.transposed {
            "DirectDeconv".into()
        } else {
            "DirectConv".into()
        }
    }

    op_as_typed_op!();
}

impl EvalOp for DirectConv {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        run_wide(self, &self.output_shape, &inputs[0], &self.weights)
    }
}

impl TypedOp for DirectConv {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec![f32::fact(&self.output_shape)])
    }

    as_op!();
}

/// A linear layer whose inputs and outputs come in groups: [group, in] to [group, out].
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
struct GroupedLinear {
    group: usize,
    inputs: usize,
    outputs: usize,
    /// whether the input is [in, group]
    across: bool,
    output_shape: TVec<usize>,
    /// [group, in, out]
    weights: Arc<Tensor>,
}

/// A product of one row with constant weights, in groups or in one.
fn linear(
    model: &TypedModel,
    node: &TypedNode,
    op: &EinSum,
) -> TractResult<Option<Box<dyn TypedOp>>> {
    if node.inputs.len() != 2 || op.q_params.is_some() {
        return Ok(None);
    }
    let weights = model.outlet_fact(node.inputs[1])?.konst.clone();
    let weights = weights.filter(|t| t.datum_type() == f32::datum_type());
    let (Some(weights), Some(input), Some(output_shape)) = (
        weights,
        shape_of(model, node.inputs[0])?,
        shape_of(model, node.id.into())?,
    ) else {
        return Ok(None);
    };
    // Axes by where they are; those of size one are in nobody's way.
    let place = |at: &TVec<usize>| at.first().copied();
    let (mut group, mut heard, mut said) = (None, None, None);
    for axis in op.axes.iter_all_axes() {
        let all = axis.inputs.iter().chain(&axis.outputs);
        if all.clone().any(|at| at.len() > 1) {
            return Ok(None);
        }
        let (a, b, c) = (
            place(&axis.inputs[0]),
            place(&axis.inputs[1]),
            place(&axis.outputs[0]),
        );
        let sizes = [
            a.map(|at| input[at]),
            b.map(|at| weights.shape()[at]),
            c.map(|at| output_shape[at]),
        ];
        if sizes.into_iter().flatten().all(|size| size == 1) {
            continue;
        }
        let slot = match (a, b, c) {
            (Some(a), Some(b), Some(c)) => (&mut group, (a, b, c)),
            (Some(a), Some(b), None) => (&mut heard, (a, b, 0)),
            (None, Some(b), Some(c)) => (&mut said, (0, b, c)),
            _ => return Ok(None),
        };
        if slot.0.replace(slot.1).is_some() {
            return Ok(None);
        }
    }
    let (Some(heard), Some(said)) = (heard, said) else {
        return Ok(None);
    };
    let permuted = |axes: &[usize]| -> TractResult<Tensor> {
        let rest = (0..weights.rank()).filter(|at| !axes.contains(at));
        let order: Vec<usize> = rest.chain(axes.iter().copied()).collect();
        (*weights).clone().permute_axes(&order)
    };
    let Some(group) = group else {
        let sizes = [weights.shape()[heard.1], weights.shape()[said.1]];
        let linear = Linear16::new(&permuted(&[heard.1, said.1])?, sizes, output_shape)?;
        return Ok(linear.map(|op| Box::new(op) as _));
    };
    // What is said is [group, number] in memory; what is heard may lie either way.
    if group.2 > said.2 {
        return Ok(None);
    }
    let shape = weights.shape();
    Ok(Some(Box::new(GroupedLinear {
        group: shape[group.1],
        inputs: shape[heard.1],
        outputs: shape[said.1],
        across: group.0 > heard.0,
        output_shape,
        weights: permuted(&[group.1, heard.1, said.1])?.into_arc_tensor(),
    })))
}

impl GroupedLinear {
    #[inline(always)]
    fn run<S: pulp::Simd>(&self, input: &[f32], weights: &[f32], output: &mut [f32]) {
        // Where a group's numbers begin, and how far apart they are.
        let (begin, apart) = if self.across {
            (1, self.group)
        } else {
            (self.inputs, 1)
        };
        let groups = weights.chunks_exact(self.inputs * self.outputs);
        let groups = groups.zip(output.chunks_exact_mut(self.outputs));
        for (group, (weights, output)) in groups.enumerate() {
            let input = &input[group * begin..];
            let (blocks, rest) = output.as_chunks_mut::<LANES>();
            let known = blocks.len() * LANES;
            for (block, output) in blocks.iter_mut().enumerate() {
                // Two sums, for each product waits for the sum before it.
                let (mut even, mut odd) = ([0.0f32; LANES], [0.0f32; LANES]);
                for at in 0..self.inputs / 2 {
                    let first = &weights[2 * at * self.outputs + block * LANES..];
                    let second = first[self.outputs..].first_chunk::<LANES>();
                    let first = first.first_chunk::<LANES>();
                    let (Some(first), Some(second)) = (first, second) else {
                        break; // never: whole blocks come first
                    };
                    let (x, y) = (input[2 * at * apart], input[(2 * at + 1) * apart]);
                    for lane in 0..LANES {
                        even[lane] = add_product::<S>(even[lane], x, first[lane]);
                        odd[lane] = add_product::<S>(odd[lane], y, second[lane]);
                    }
                }
                for lane in 0..LANES {
                    output[lane] = even[lane] + odd[lane];
                }
                if self.inputs % 2 == 1 {
                    let last = self.inputs - 1;
                    let row = &weights[last * self.outputs + block * LANES..];
                    add_scaled::<S>(input[last * apart], row, output);
                }
            }
            for (at, row) in weights.chunks_exact(self.outputs).enumerate() {
                add_scaled::<S>(input[at * apart], &row[known..], rest);
            }
        }
    }
}

impl Op for GroupedLinear {
    fn name(&self) -> StaticName {
        "GroupedLinear".into()
    }

    op_as_typed_op!();
}

impl EvalOp for GroupedLinear {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        run_wide(self, &self.output_shape, &inputs[0], &self.weights)
    }
}

impl TypedOp for GroupedLinear {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec![f32::fact(&self.output_shape)])
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: &mut u32, shape: &[usize]) -> Tensor {
        let len = shape.iter().product();
        let numbers: Vec<f32> = (0..len)
            .map(|_| {
                *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (*seed >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect();
        Tensor::from_shape(shape, &numbers).unwrap()
    }

    /// Largest difference that the replacement makes, and the operations it left.
    fn difference(model: TypedModel, input: Tensor) -> (f32, Vec<String>) {
        let engine = model.clone().into_optimized().unwrap();
        let direct = replace(model).unwrap();
        let order = direct.eval_order().unwrap();
        let names = order
            .iter()
            .map(|id| direct.node(*id).op.name().to_string());
        let names = names.filter(|name| name != "Const" && name != "Source");
        let names = names.collect();
        let run = |model: TypedModel| {
            let inputs = tvec![input.clone().into_tvalue()];
            let output = model.into_runnable().unwrap().run(inputs).unwrap();
            output[0].clone().into_tensor()
        };
        let (expected, found) = (run(engine), run(direct));
        assert_eq!(expected.shape(), found.shape());
        let expected = expected.to_plain_array_view::<f32>().unwrap().to_owned();
        let found = found.to_plain_array_view::<f32>().unwrap().to_owned();
        let pairs = expected.iter().zip(&found);
        (pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max), names)
    }

    /// What a case of a convolution says: channels in and out, groups, input, kernel, strides,
    /// dilations, padding before and after.
    type Case = (
        [usize; 3],
        [usize; 2],
        [usize; 2],
        [usize; 2],
        [usize; 2],
        [usize; 2],
    );

    fn convolved(case: Case, transposed: bool) -> (f32, Vec<String>) {
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
    fn convolutions_equal_the_engines() {
        let one = [1, 1];
        for case in [
            ([6, 6, 6], [1, 32], [1, 3], [1, 2], one, [0, 1]),
            ([6, 6, 6], [1, 9], [1, 3], one, one, [0, 1]),
            ([6, 6, 6], [1, 9], [1, 1], one, one, [0, 0]),
            ([6, 6, 6], [5, 33], [3, 3], one, [2, 1], [0, 1]),
            ([6, 6, 6], [7, 33], [3, 5], [2, 2], [1, 2], [2, 3]),
            ([64, 10, 2], [5, 96], [5, 1], one, one, [0, 0]),
            ([8, 2, 1], [6, 45], [3, 1], one, one, [2, 0]),
            ([8, 1, 1], [1, 32], [1, 3], one, one, [0, 1]),
        ] {
            let (difference, names) = convolved(case, false);
            assert!(difference < 2e-5, "{case:?}: {difference}");
            assert_eq!(names, ["DirectConv"], "{case:?}");
        }
        for case in [
            ([6, 6, 6], [1, 16], [1, 3], [1, 2], one, [0, 1]),
            ([6, 6, 6], [1, 16], [1, 5], one, one, [0, 2]),
            ([6, 6, 6], [3, 17], [3, 5], [1, 2], one, [1, 2]),
        ] {
            let (difference, names) = convolved(case, true);
            assert!(difference < 2e-5, "transposed {case:?}: {difference}");
            assert_eq!(names, ["DirectDeconv"], "{case:?}");
        }
    }

    fn product(axes: &str, input: &[usize], weights: &[usize]) -> (f32, Vec<String>) {
        let mut seed = 3;
        let mut model = TypedModel::default();
        let x = model.add_source("x", f32::fact(input)).unwrap();
        let weights = model.add_const("w", noise(&mut seed, weights)).unwrap();
        let op = EinSum::new(axes.parse().unwrap(), f32::datum_type());
        let out = model.wire_node("product", op, &[x, weights]).unwrap();
        model.select_output_outlets(&out).unwrap();
        difference(model, noise(&mut seed, input))
    }

    #[test]
    fn layers_in_groups_equal_the_engines() {
        for (input, outputs) in [(16, 32), (7, 16), (33, 60), (5, 3)] {
            for (axes, shape) in [
                ("btgi,gih->btgh", [1, 1, 4, input]),
                ("btig,gih->btgh", [1, 1, input, 4]),
            ] {
                let (difference, names) = product(axes, &shape, &[4, input, outputs]);
                assert!(difference < 1e-5, "{axes} {input} {outputs}: {difference}");
                assert_eq!(names, ["GroupedLinear"], "{axes} {input} {outputs}");
            }
        }
    }

    #[test]
    fn large_layers_are_right_to_fourteen_bits() {
        for (axes, weights) in [
            ("mk,kn->mn", [300, 130]),
            ("mk,nk->mn", [130, 300]),
            ("mk,kn->n", [128, 192]),
        ] {
            let inputs = weights[usize::from(axes.contains("nk"))];
            let (difference, names) = product(axes, &[1, inputs], &weights);
            // Sums of hundreds of products of numbers up to one.
            assert!(difference < 1.5e-3, "{axes}: {difference}");
            assert_eq!(names, ["Linear16"], "{axes}");
        }
        let (difference, names) = product("mk,kn->mn", &[1, 32], &[32, 32]);
        assert!(difference == 0.0 && names == ["EinSum"], "{names:?}");
        let (_, names) = product("mk,kn->mn", &[2, 300], &[300, 130]);
        assert_eq!(names, ["EinSum"], "a batch is left to the engine");
    }
}
