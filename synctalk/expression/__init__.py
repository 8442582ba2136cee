"""OOD Audio Expression Generator (Section III-E): speech-matched expressions and the codebook."""
