import shmkit as queue
# 定义一个长度为2的阻塞队列
bq = queue.Queue("tutorial/two", 2)
bq.put("Python")
bq.put("Python")
print("1111111111")
bq.put("Python")  # ① 阻塞线程
print("2222222222")
