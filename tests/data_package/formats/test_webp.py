import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from elfs.data.decoding import SEVERAL_FRAMES, decode, remarks
from elfs.data.samples import Outcome
from tests.data_package.formats.files import LIMIT, encode, is_used, noise, pixels, refused

KINDS: list[dict[str, Any]] = [
    {"quality": 80},
    {"quality": 5, "method": 0},
    {"quality": 100, "method": 6},
    {"lossless": True},
    {"lossless": True, "quality": 0},
]
DRAWING = noise(12, 16).resize((192, 144)).point([level & 0xF0 for level in range(256)] * 3)
PARTITIONS = base64.b85decode(
    "Qb|Teo(TW|S4BclR!}$~k_i9+FdzV(0V-espa4F-OrlGtBqO1>bZ+?Imx*j$oQ&{4$MDMRH_x9+cJKUc;rx&OkD5oP_5byi|Npcex;_4aA!7NT2%"
    "!ng`^kTReih$`Y2U&BrhY(vPV0kzDgNL2Rm1_D4g6#IujKCV=l4%nU#S0`{~`Nl{!7_U<{!|%%YSM7dinwU%lY^D|Lz~;f9wB?pE*H(0mTIjdWZ5"
    "a+OJ@m!}j0oU$OtQdwArdpgf8Euk~O0|J=VXehd1e{YmUS{gczDq#yp?d>(ZFx;N{e`vWG(D(n;zykz17dvLhUAn974+4(#LqWk>wU7tE?(>!Xbz"
    "y>+y5%0hyr#dXv%kuWd6~F+X0sxl+0I2~0{^n~_xqg5A27<&kuiiWf5Zqn1#zZpd9iT^53<@N$OajLeP?dT7iY_z1K(9b9@BTF$iP0zU4~OYM2WB"
    "0m$)ViO_|gi!Rf<KBb~z}>6J<MTwTx4L1F?X+TDi`zx88KLpq^HRUZwxMq%>0H#E5J<P5F+Sqh4%yPQHdnE1TEe<V{0S*B{*ulCov^rvdx5AY^M0"
    "(Xf?F0mzo8;t}XeT^%t#FSD<`Uy!2h-K6+}2I9N5bi5wFRl&HtOK1C6sIvgcklbJVIex-u7SGq5y5+;-Z!ar%w_5h+qM#W$=^ZYg2K|f4-79j70w"
    "GNi@)<4}-C`NuK%2iuKLHnZTPZxD51bx~NnRgp)%}Gz9mdPR=XPfVsS}QNVCZku+t>bRj~=@%H$eo@DR`tm#;ft2<f*nY_@Q-?C0^pzhC7=7>8r+"
    "sEe!Dep~6$=`O<hn<xiH+NGp*lv=Z#uR9x3f93424(#r5tWNP-i+*cNaGHsk<dSvbpoq($D97sLXkK)1OIMh{<&j0+;ex90KyJP?(krUAu%dm+<h"
    "^N|a#};o_5#faQLruD_8kT9*4CO<fK9f8BX@r7~yUA%xff5m}88IdnGOy-Em1zZANSsL1DqdJ$1FvvDWv4pzwP|y37u*DniU?YbCl2R{12jM&Qs?"
    ";#p{4qlt~?j>i7{_*>+=(~L-J;P3gP!$Re)KszcnjgPQM9gM*n6APvz9=M4S3Cj?jt9e0c_N_RwpRfRvFD771?+TAI+s!9aVs0^g#cOUjK`WESUR"
    "MM6<y4cD7=n0YikCUqt%Xtg;9-5l7D&hjeSD+z{_0y!@2wRfuU%(J0tfw=4BoNdd(!bAtxSL&kbWNdb3ntML;F|l9(`~kbZ7TyEtvFWgo=2@15O5"
    "2X$Fb2`fMu&zmB>2w2y<%9EZ0!C_u-ixm=1=UnY#!IbcsqN*p*dH#b!Z@+B*ryuya?_##xnRq5LkuKTJbi@v_EBXKO8ba$C60~u(tTO`VxP~vzK+"
    "Wo#p1={5}c~JfUTIY4&<>`dpK1N~|-+Ui12R2V$sc!aOV`OZ&U`x*UzUOx>AfwPM2Dn+NczQ(w$NezNskC-r9Na)gbn>%ZKN;7tdyBo{TnpTB#r!"
    "}q<d65ql?*cn+Gjmq)a1OL~in~uG{5F`2v^eaXM3o{<v9A7xNw$nu6xK*`Y-{pyWBf9_SKEYIq>H5cLpT3iXVEHnayPH&nMDNPAk!)qUYZW!OzI5"
    "aI_ws<A!kt@>$C(P^06G0K?xZ<&o)LQx)%)ecR}DhywcT5N6Ux(2Le{K8)i0%9r~QQ6$l-;p_Om%d4{cxCKfi6^FiTTHe+*b>XjH+@(+iPrpMY7l"
    "WNKHCV*-X5p|9$H4Sua(D`DzY!61Qq!Sd+@DceYoIHM8TA6i5=p!bNA&}Db<4&+>Sy3yarN*U"
    "e$NOVFz=||0~k?8QSxk_sO;Guqvs^tRMg}szr3J"
    "WL{ekm{ueQI+2g#Ia2(O=-@9Rrl+TCZqt!|q-~wL1I(Do{2grk6!@9|X7S{D$`*OcKo4!L>vi;*WVIf~Q5dg??A?B#LvUmCJaouK?@0dHH1T?(^`"
    "i8L_Rd=L6{)=cg;kJMz**bDX!r1=$D(|IrBVoGt4vFXJy1@kQdl>v8Ar)62rrJztGDU$2d*Gf*+qyBTm%hu{DHc=}nr!H=7_bA!~p?>onNh@)%DZ"
    ")7l8j$4=+He!aG{1>{zwg3Q7`#+OepP1CK3|&#s^JI+8c(i2w>jKmePapK`ZH|fvGTic+gG=l~)#<-YJqzb(1kHOHSeQ&f=D?d!{j%J;P4g)P+Y?"
    "Q}3Q1qv`QAKnPZ_#;jxAMiwOS+Wf>?A-UdIe?S=&6qr**ZDU)j?*{-GRu@!V0qdn^zSX{>T#^5UR=WW%$0?Jo~GKb`py-7H&o=Yd{MBk#m?HeLL-"
    "+FmlRd$YfPtW*P%#tk=@H>Z<)W@DgWDcgs3_f#Oa7|L!Pq*gyOna1W<uK)g(zCYA2JQ)1S_>UBZ%T5ZD7y+UTQ;+FPpt>0h)9Kl1Bo95G>bd<LP6"
    "8{C|MyJf6K7or$`#g?08ub{2MA|VW|DP?#ps(6383AprhYA!-_0XjTjzfO%pvKP9T{~?YJCO-o2DoWt&_eY!?3OPIPMFy|G-j#^DlzaZ6O#tai2i"
    "^XDfKwmqxwlPEpB5RNe9K#meg8{4F4+rvb_}aB!w0M{V<hyqXQSwvtaRR!q;23uX1-!tE8gI*JN@*Akw6R5v$UwBZu^ZJ4OVa1b`r8?pcZ^cTN0^"
    "E<zCroo+Fl;{hzZ*anR3FL;MvrB=8J|gmtxBc>vZ+&e!YR~|GfW~}V=W)^5y_9fnMZbB^f8BrcYr`pbfVV2!)=P|Au1+UVLg2kbS8>ViDuZrpd{o"
    "Ubo}QSlidet?;bc$r@a4GJh=sYGBF<TZ4JIL%pOa&=|M&wo(V`2>r*Vlv<bItLiI-PF^%~uw0g?`MIHjFEh8U5!8$lo^Spn!@azy0rLEP8$4!rsY"
    "R~XJ`Gc;ac5cg<rDgUWM&;^OUIG4SsV#dwQNy;g1I7ZnWt@3QWytQGtv>{w$Z`lZQO#klP(q;Ws&VJ1^=zzb?7<@Cto&dN})Z2tINh9fQ5~|e}S%"
    "zU#PuiSR5_s;csfh9omKKm&!0@{@<l>PjA!&!p0nRgr(QVyE?6b<bB*Y+?4GYwK%xKrhAD5?{(&z1$74G%ltb{W$r3U;2&-oMdz6`V}z%>tBr6J&"
    "lq^8I@zD7bA6$zF}skwks4s-&<1Yf+DehX7QGjf5$Cm)m#__D!4kWfelp!&O5000"
)
"""Four partitions, by convert -define webp:method=0 -define webp:partitions=2."""

pytestmark = pytest.mark.skipif(not features.check("webp"), reason="this Pillow has no WebP")


@pytest.mark.slow
@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("is_animated", [False, True])
def test_a_whole_file_gives_what_pillow_gives(options: dict[str, Any], alpha: bool, is_animated: bool) -> None:
    image = with_alpha(DRAWING) if alpha else DRAWING
    more = {"save_all": True, "append_images": [image.rotate(90)]} if is_animated else {"exif": b"Exif\0\0strange"}
    data = encode(image, "WEBP", **options, **more)
    found = decode(data, LIMIT)
    assert (SEVERAL_FRAMES in remarks(found)) == is_animated
    expected = Image.open(io.BytesIO(data)).convert("RGBA")
    white = Image.new("RGBA", expected.size, "white")
    assert np.array_equal(np.asarray(found), np.asarray(Image.alpha_composite(white, expected).convert("RGB")))


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("color", ["white", (201, 30, 40)])
def test_pictures_of_one_color_are_whole(options: dict[str, Any], color: Any) -> None:
    for size in ((1, 1), (8, 8), (33, 97), (320, 97), (320, 320)):  # which end in up to 83 NULs
        assert pixels(encode(Image.new("RGB", size, color), "WEBP", **options)).shape == (size[1], size[0], 3)


def test_a_large_picture_of_one_color_is_whole() -> None:
    data = encode(Image.new("RGB", (1500, 1500)), "WEBP")
    assert data.endswith(bytes(200))
    assert not pixels(data).any()


@pytest.mark.slow
@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("has_alpha", [False, True])
def test_holes_among_the_codes_are_damage(options: dict[str, Any], has_alpha: bool) -> None:
    """A stretch of NULs, of other codes of the file, or of noise; some codes take as many bytes by chance."""
    data = encode(with_alpha(DRAWING) if has_alpha else DRAWING, "WEBP", **options)
    name = b"ALPH" if b"ALPH" in data else b"VP8L" if options.get("lossless") else b"VP8 "
    start = data.index(name) + 8
    size = int.from_bytes(data[start - 4 : start], "little")
    num_used, length = 0, max(size // 8, 30)
    for at in range(start + size // 4, start + size - 2 * length, length // 2):
        for fill in (bytes(length), data[start + 30 :][:length], noise().tobytes()[:length]):
            num_used += is_used(data[:at] + fill + data[at + length :])
    assert num_used <= 2


def with_alpha(image: Image.Image) -> Image.Image:
    found = image.copy()
    found.putalpha(image.getchannel(0).rotate(180))
    return found


def test_each_of_several_partitions_is_looked_at() -> None:
    assert pixels(PARTITIONS).shape == (160, 96, 3)
    head = PARTITIONS.index(b"VP8 ") + 8
    sizes = head + 10 + (int.from_bytes(PARTITIONS[head : head + 3], "little") >> 5)
    start = sizes + 9
    for number in range(4):
        size = int.from_bytes(PARTITIONS[sizes + 3 * number :][:3], "little")
        stop = start + size if number < 3 else len(PARTITIONS)
        at = (start + stop) // 2
        refused(PARTITIONS[:at] + bytes(24) + PARTITIONS[at + 24 :], Outcome.BROKEN, "fewer pixels than its codes")
        start = stop
