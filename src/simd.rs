//! Loops compiled for each SIMD instruction set and chosen at run time.

use pulp::bytemuck::{cast_slice, cast_slice_mut};
use realfft::num_complex::Complex32;

/// Defines a function whose body is compiled for each instruction set that `pulp` supports. A call
/// runs the one for this processor. Functions that the body calls must be inlined into it.
/// `<'a, S>(simd: S; ...)` gives the body explicit vectors.
macro_rules! simd_dispatch {
    (
        $(#[$doc:meta])*
        $vis:vis fn $name:ident<$life:lifetime>($($arg:ident: $kind:ty),* $(,)?) $(-> $out:ty)?
        $body:block
    ) => {
        simd_dispatch! {
            $(#[$doc])*
            $vis fn $name<$life, S>(_simd: S; $($arg: $kind),*) $(-> $out)? $body
        }
    };
    (
        $(#[$doc:meta])*
        $vis:vis fn $name:ident<$life:lifetime, S>(
            $simd:ident: S; $($arg:ident: $kind:ty),* $(,)?
        ) $(-> $out:ty)?
        $body:block
    ) => {
        $(#[$doc])*
        $vis fn $name<$life>($($arg: $kind),*) $(-> $out)? {
            struct Work<$life> {
                $($arg: $kind),*
            }
            impl<$life> pulp::WithSimd for Work<$life> {
                type Output = simd_dispatch!(@output $($out)?);

                #[inline(always)]
                fn with_simd<S: pulp::Simd>(self, simd: S) -> Self::Output {
                    let Self { $($arg),* } = self;
                    work(simd, $($arg),*)
                }
            }
            // Arguments are known not to alias; fields of a struct are not.
            #[inline(always)]
            fn work<$life, S: pulp::Simd>($simd: S, $($arg: $kind),*) $(-> $out)? $body
            pulp::Arch::new().dispatch(Work { $($arg),* })
        }
    };
    (@output $out:ty) => { $out };
    (@output) => { () };
}

pub(crate) use simd_dispatch;

/// `[bins]` as `[bins][re, im]`.
pub(crate) fn as_interleaved(spectrum: &[Complex32]) -> &[f32] {
    cast_slice(spectrum)
}

/// `[bins]` as `[bins][re, im]`.
pub(crate) fn as_interleaved_mut(spectrum: &mut [Complex32]) -> &mut [f32] {
    cast_slice_mut(spectrum)
}
