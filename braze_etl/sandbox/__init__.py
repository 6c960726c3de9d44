"""A local stand-in for Amplitude that enforces the documented rules; imports nothing of the job.

`Project` is what Amplitude would hold: it takes a request body and answers as amplitude.md (1.2-1.5) says,
and lets what it took be read (amplitude-read.md), without a socket and with a clock that is handed in.
`SandboxServer` puts it behind HTTP on this machine. `Faults` is a script of what goes wrong on the way:
refusals, delays, resets, lost answers. Where the documents are silent the docstrings say what was chosen,
with the mark "not documented".
"""
