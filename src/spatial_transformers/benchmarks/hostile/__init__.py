"""Whether spatial transformers train where training is hostile: `stn bench hostile`."""
