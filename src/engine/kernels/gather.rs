//! Numbers picked from rows by their places, with zeros for places past the end.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{Gather, Pad, PadMode};

use super::dims_of;

/// [rows, from] to [rows, places].
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(super) struct Pick {
    from: usize,
    places: Vec<usize>,
}

/// What `node` hears, and the same as it, if it picks from rows at known places.
pub(super) fn pick(
    model: &TypedModel,
    node: &TypedNode,
    op: &Gather,
) -> TractResult<Option<(OutletId, Pick)>> {
    let places = model.outlet_fact(node.inputs[1])?.konst.clone();
    let Some(places) = places.filter(|places| places.rank() == 1) else {
        return Ok(None);
    };
    let width = |outlet: OutletId| -> TractResult<Option<usize>> {
        let dims = dims_of(model, outlet)?.filter(|dims| dims.len() == 2);
        Ok(dims.and_then(|dims| dims[1].to_usize().ok()))
    };
    let (1, Some(padded)) = (op.axis, width(node.inputs[0])?) else {
        return Ok(None);
    };
    let places = places.cast_to::<i64>()?;
    let places = places.try_as_plain_ram()?;
    let places: Option<Vec<usize>> = places
        .as_slice::<i64>()?
        .iter()
        .map(|at| usize::try_from(if *at < 0 { at + padded as i64 } else { *at }).ok())
        .collect();
    let Some(places) = places.filter(|places| places.iter().all(|at| *at < padded)) else {
        return Ok(None);
    };
    // Zeros that were put behind each row are what lies past the end.
    let before = model.node(node.inputs[0].node);
    let is_behind = |pad: &Pad| {
        let zero = matches!(&pad.mode, PadMode::Constant(with) if with.cast_to_scalar::<f32>().ok() == Some(0.0));
        zero && pad.pads.len() == 2 && pad.pads[0] == (0, 0) && pad.pads[1].0 == 0
    };
    let from = match before.op_as::<Pad>() {
        Some(pad) if is_behind(pad) => before.inputs[0],
        _ => node.inputs[0],
    };
    Ok(width(from)?.map(|width| {
        (
            from,
            Pick {
                from: width,
                places,
            },
        )
    }))
}

impl Op for Pick {
    fn name(&self) -> StaticName {
        "Pick".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Pick {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = inputs[0].try_as_plain_ram()?;
        let rows = inputs[0].len() / self.from;
        let mut output = Tensor::zero::<f32>(&[rows, self.places.len()])?;
        {
            let mut output = output.try_as_plain_ram_mut()?;
            let to = output
                .as_slice_mut::<f32>()?
                .chunks_exact_mut(self.places.len());
            for (row, to) in input.as_slice::<f32>()?.chunks_exact(self.from).zip(to) {
                for (to, at) in to.iter_mut().zip(&self.places) {
                    *to = row.get(*at).copied().unwrap_or(0.0);
                }
            }
        }
        Ok(tvec![output.into_tvalue()])
    }
}

impl TypedOp for Pick {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let rows = inputs[0].shape[0].clone();
        Ok(tvec![f32::fact([rows, self.places.len().to_dim()])])
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::super::tests::{difference, noise};
    use super::*;

    fn graph(places: &[i64], padding: Option<(usize, usize)>) -> TypedModel {
        let mut model = TypedModel::default();
        let mut from = model.add_source("from", f32::fact([3, 5])).unwrap();
        if let Some(padding) = padding {
            let zero = PadMode::Constant(tensor0(0f32).into());
            let pad = Pad::new(vec![(0, 0), padding], zero);
            from = model.wire_node("padded", pad, &[from]).unwrap()[0];
        }
        let places = model.add_const("places", tensor1(places)).unwrap();
        let picked = model
            .wire_node("picked", Gather::new(1), &[from, places])
            .unwrap();
        model.select_output_outlets(&picked).unwrap();
        model
    }

    #[test]
    fn picks_equal_the_engines() {
        let cases: [(&[i64], _, &[&str]); 3] = [
            (&[0, 4, 4, 1], None, &["Pick"]),
            (&[5, 0, 6, 4, 5], Some((0, 2)), &["Pick"]),
            (&[0, 1, 5], Some((1, 0)), &["Pad", "Pick"]),
        ];
        for (places, padding, expected) in cases {
            let input = noise(&mut 7, &[3, 5]);
            let (error, ops) = difference(graph(places, padding), input);
            assert_eq!(
                (error, ops),
                (0.0, expected.iter().map(|s| s.to_string()).collect())
            );
        }
    }
}
