"""The program inside the stand-in's file. It runs on a simulated site with the standard library of Python 3.11.

It avoids modules that cost memory (typing, dataclasses, argparse): two hundred of it run on one machine.
"""
