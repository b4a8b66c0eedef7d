"""The parts of predict.py.

pictures, picture_files    a picture of a digit, converted to MNIST's form
trained                    script, options and checkpoint of a trained run
export                     a SavedModel for TensorFlow 1 and 2
"""
