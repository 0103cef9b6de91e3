import time
import numpy as np
from threading import Thread
import matplotlib.pyplot as plt

arr = []
EEG_LENGTH = 100


def tt(f):
    while True:
        time.sleep(0.001)
        x = np.random.random()
        f(x)


def ttt(x):
    arr.append(x)


def proc2():
    plt.ion()
    figure = plt.figure(figsize=(10, 5))
    data = []
    i = 0
    x = np.linspace(0, 2, EEG_LENGTH)
    while True:
        print(len(arr))
        if len(arr) > 0:
            data.append(arr.pop())
        if len(data) == EEG_LENGTH:
            plt.cla()
            plt.plot(x, data)
            data = data[1:]
            plt.xticks([])
            plt.yticks([])
            plt.pause(0.00000001)



if __name__ == "__main__":
    p = Thread(target=proc2)
    p.start()
    tt(ttt)
