//! Numpy arrays as interleaved samples, and back.

use numpy::ndarray::ArrayViewD;
use numpy::{Element, PyArray1, PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::error::invalid_block;

/// The arrays that a stream or a function takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// `None`: as many as the array has
    pub channels: Option<usize>,
    /// arrays have the shape (c, n) instead of (n, c)
    pub channels_first: bool,
    /// NaN and infinite samples become 0 instead of raising an exception
    pub repair_non_finite: bool,
    /// whether float64 is allowed
    pub allow_f64: bool,
}

/// Interleaved samples, `[frames][channels]`.
#[derive(Debug)]
pub(crate) enum Samples {
    F32(Vec<f32>),
    /// processed as f32
    F64(Vec<f32>),
    I16(Vec<i16>),
}

/// The samples of an array and what is needed to return an array of the same shape and type.
#[derive(Debug)]
pub(crate) struct Block {
    pub samples: Samples,
    pub channels: usize,
    shape: Shape,
}

/// The shape of an array.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// (n,)
    Flat,
    /// (n, c)
    FramesFirst,
    /// (c, n)
    ChannelsFirst,
}

impl Samples {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(samples) | Self::F64(samples) => samples.len(),
            Self::I16(samples) => samples.len(),
        }
    }

    /// As many samples of silence, of the same type.
    pub(crate) fn silence(&self, samples: usize) -> Self {
        match self {
            Self::F32(_) => Self::F32(vec![0.0; samples]),
            Self::F64(_) => Self::F64(vec![0.0; samples]),
            Self::I16(_) => Self::I16(vec![0; samples]),
        }
    }

    /// A numpy array of these interleaved samples.
    pub(crate) fn into_array(
        self,
        py: Python<'_>,
        shape: Shape,
        channels: usize,
    ) -> PyResult<Bound<'_, PyAny>> {
        match self {
            Self::F32(samples) => array(py, samples, shape, channels),
            Self::F64(samples) => {
                let samples = samples.into_iter().map(f64::from).collect();
                array(py, samples, shape, channels)
            }
            Self::I16(samples) => array(py, samples, shape, channels),
        }
    }
}

impl Block {
    /// Copies the samples of a numpy array.
    pub(crate) fn read(block: &Bound<'_, PyAny>, layout: Layout) -> PyResult<Self> {
        let py = block.py();
        let Ok(array) = block.cast::<PyUntypedArray>() else {
            let found = block.get_type().name()?;
            let text = format!(
                "block: expected a numpy array of {}, found {found}",
                dtypes(layout)
            );
            return Err(invalid_block(py, text));
        };
        let (shape, channels) = shape(array, layout)?;
        let samples = if let Ok(array) = block.cast::<PyArrayDyn<f32>>() {
            Samples::F32(interleaved(array, shape)?)
        } else if let Ok(array) = block.cast::<PyArrayDyn<i16>>() {
            Samples::I16(interleaved(array, shape)?)
        } else if let (true, Ok(array)) = (layout.allow_f64, block.cast::<PyArrayDyn<f64>>()) {
            let samples: Vec<f64> = interleaved(array, shape)?;
            Samples::F64(samples.into_iter().map(|sample| sample as f32).collect())
        } else {
            let text = format!(
                "block: expected dtype {}, found {}; convert it with block.astype(numpy.float32), \
                 full scale 1.0",
                dtypes(layout),
                array.dtype().str()?
            );
            return Err(invalid_block(py, text));
        };
        if let (Samples::F32(values) | Samples::F64(values), false) =
            (&samples, layout.repair_non_finite)
            && let Some(at) = values.iter().position(|sample| !sample.is_finite())
        {
            let text = format!(
                "block: expected finite samples, found {} in frame {}, channel {}",
                values[at],
                at / channels,
                at % channels
            );
            return Err(invalid_block(py, text));
        }
        Ok(Self {
            samples,
            channels,
            shape,
        })
    }

    /// A numpy array with the shape and type of the array that was read.
    pub(crate) fn into_array(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        self.samples.into_array(py, self.shape, self.channels)
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }
}

fn dtypes(layout: Layout) -> &'static str {
    if layout.allow_f64 {
        "float32, float64 or int16"
    } else {
        "float32 or int16"
    }
}

/// The shape of an array and its channels.
fn shape(array: &Bound<'_, PyUntypedArray>, layout: Layout) -> PyResult<(Shape, usize)> {
    let (axis, found_shape) = (usize::from(!layout.channels_first), array.shape());
    let found = match found_shape.len() {
        1 => Some((Shape::Flat, 1)),
        2 if layout.channels_first => Some((Shape::ChannelsFirst, found_shape[axis])),
        2 => Some((Shape::FramesFirst, found_shape[axis])),
        _ => None,
    };
    if let Some((shape, channels)) = found {
        let fits = layout.channels.is_none_or(|expected| expected == channels);
        if fits && channels > 0 {
            return Ok((shape, channels));
        }
    }
    let channels = layout.channels.map_or("c".into(), |c| c.to_string());
    let pair = if layout.channels_first {
        format!("({channels}, n)")
    } else {
        format!("(n, {channels})")
    };
    let expected = match layout.channels {
        None | Some(1) => format!("(n,) or {pair}"),
        Some(_) => pair,
    };
    let found: Vec<String> = found_shape.iter().map(ToString::to_string).collect();
    let remedy = match (layout.channels, found_shape, layout.channels_first) {
        (Some(c @ 2..), [_], _) => {
            format!("; interleaved samples become frames with block.reshape(-1, {c})")
        }
        (Some(c), &[first, _], false) if first == c => {
            "; blocks of shape (c, n) need channels_first=True".into()
        }
        (Some(c), &[_, second], true) if second == c => {
            "; blocks of shape (n, c) need channels_first=False".into()
        }
        _ => String::new(),
    };
    let comma = if found.len() == 1 { "," } else { "" };
    let text = format!(
        "block: expected shape {expected}, found ({}{comma}){remedy}",
        found.join(", ")
    );
    Err(invalid_block(array.py(), text))
}

fn interleaved<T: Element + Copy>(
    array: &Bound<'_, PyArrayDyn<T>>,
    shape: Shape,
) -> PyResult<Vec<T>> {
    let array = array
        .try_readonly()
        .map_err(|error| invalid_block(array.py(), format!("block: {error}")))?;
    let mut view: ArrayViewD<'_, T> = array.as_array();
    if matches!(shape, Shape::ChannelsFirst) {
        view.swap_axes(0, 1);
    }
    Ok(match view.as_slice() {
        Some(samples) => samples.to_vec(),
        None => view.iter().copied().collect(),
    })
}

fn array<T: Element + Copy>(
    py: Python<'_>,
    samples: Vec<T>,
    shape: Shape,
    channels: usize,
) -> PyResult<Bound<'_, PyAny>> {
    let frames = samples.len() / channels;
    Ok(match shape {
        Shape::Flat => PyArray1::from_vec(py, samples).into_any(),
        Shape::FramesFirst => PyArray1::from_vec(py, samples)
            .reshape([frames, channels])?
            .into_any(),
        Shape::ChannelsFirst => {
            let planar = (0..channels)
                .flat_map(|channel| samples.iter().skip(channel).step_by(channels).copied())
                .collect();
            PyArray1::from_vec(py, planar)
                .reshape([channels, frames])?
                .into_any()
        }
    })
}
