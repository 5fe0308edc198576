"""The grammar of the probe language: `probe.lark`."""
