"""The version of what the engine makes: the same one makes the same picture of the same spec and pictures.

It is part of a job's recipe (`shared.jobs.recipes`), by which pictures are made once and used again. Raise it
with a change of the engine that alters pictures, so that none from before passes for one of after.
"""

ENGINE_VERSION = 6
