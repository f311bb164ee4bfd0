# For bash, which has clients and no server. See ../matrix.test.ts for what a probe prints.
echo "env=$GREETING"
echo "file=$(</data/plain.txt)"
names=(/data/many/*)
echo "list=${#names[@]}"
echo "host=$HOSTNAME"
exec 3<>/dev/tcp/backend/8080
printf 'GET / HTTP/1.0\r\n\r\n' >&3
answer=$(cat <&3)
[[ $answer =~ \"name\":\"([a-z]+)\" ]]
echo "tcp=${BASH_REMATCH[1]}"
exec 4<>/dev/udp/backend/7001
printf 'by udp' >&4
IFS= read -r -t 10 -N 6 reply <&4
echo "udp=$reply"
