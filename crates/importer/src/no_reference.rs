//! Stands for the f32 original where the program is built without the feature `reference`.

use std::convert::Infallible;

use crate::Samples;

/// Never made.
pub(crate) struct Reference(Infallible);

impl Reference {
    /// Refuses: nothing is measured.
    pub(crate) fn load(_source: &[u8], _outputs: &[String]) -> Result<Self, String> {
        Err("this program was built without it".into())
    }

    /// Cannot be called.
    pub(crate) fn run(
        &self,
        _samples: &Samples,
        _range: std::ops::Range<usize>,
    ) -> Result<Vec<Vec<Vec<f32>>>, String> {
        match self.0 {}
    }
}
