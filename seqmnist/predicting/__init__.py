"""What predict.py is made of.

pictures, picture_files    a picture of a digit, as MNIST would have it
trained                    a run that has trained, found again
export                     a SavedModel for both TensorFlows
"""
